// Swagger UI on the description of this server. No validator: that would be another host.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  validatorUrl: null,
  deepLinking: true,
  docExpansion: "list",
});
