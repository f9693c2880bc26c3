// Auth0's SDK for Node as a client of a local tenant's Management API, for the scripts beside this one.
import { ManagementClient } from "auth0";

/** The SDK for the tenant of `dev --fresh-tenant`. It speaks https alone; its option for another fetch leads to http. */
export function management(dev, { secret = dev.variables.AUTH0_CLIENT_SECRET, exchanges = [], ...options } = {}) {
  const plain = async (url, init) => {
    const response = await fetch(String(url).replace(/^https:/, "http:"), init);
    exchanges.push({ path: new URL(url).pathname, status: response.status });
    return response;
  };
  const credentials = { clientId: dev.variables.AUTH0_CLIENT_ID, clientSecret: secret };
  return new ManagementClient({
    domain: new URL(dev.issuer).host, audience: `${dev.issuer}api/v2/`, fetch: plain, ...credentials, ...options,
  });
}
