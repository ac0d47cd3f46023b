// A certified OpenID provider (panva's oidc-provider) for tests: access tokens as JWT for two programs, and people who sign
// in at its own forms. Usage: node provider.js PORT REDIRECT_URI
import { generateKeyPairSync, randomUUID } from "node:crypto";
import Provider from "oidc-provider";

const [port, back] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const scopes = ["search", "read", "store", "delete", "share"].map((action) => `dicom.${action}`);
const program = { grant_types: ["client_credentials"], redirect_uris: [], response_types: [] };
const jwk = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });

const provider = new Provider(issuer, {
  clients: [
    { ...program, client_id: "modality", client_secret: "modality-secret", scope: scopes.join(" ") },
    { ...program, client_id: "viewer", client_secret: "viewer-secret", scope: "dicom.search dicom.read" },
    { client_id: "page", client_secret: "page-secret", redirect_uris: [back], post_logout_redirect_uris: [new URL("/", back).href], grant_types: ["authorization_code"], response_types: ["code"] },
  ],
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, groups: id === "radiologist" ? ["radiology"] : ["others"] }) }),
  claims: { openid: ["sub"], profile: ["groups"] },
  conformIdTokenClaims: false, // groups are to stand in the ID token
  jwks: { keys: [{ ...jwk, kid: randomUUID(), use: "sig", alg: "RS256" }] },
  cookies: { keys: [randomUUID()] },
  scopes: ["openid", ...scopes],
  pkce: { required: () => true },
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:gantry",
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: scopes.join(" "), audience: "urn:gantry", accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } } }),
    },
  },
});
provider.on("server_error", (ctx, error) => console.error(error));
provider.on("authorization.error", (ctx, error) => console.error(error));
provider.on("grant.error", (ctx, error) => console.error(error));
const server = provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
