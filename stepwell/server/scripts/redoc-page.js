// ReDoc on the description of this server.
Redoc.init("openapi.json", { hideDownloadButton: false, nativeScrollbars: true }, document.getElementById("docs"));
