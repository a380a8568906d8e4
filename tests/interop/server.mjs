// A certified authorization server on a loopback port, made to write every dialect under test.
//
// The first line on stdout is its issuer. Each line on stdin is a command, answered with one line on stdout:
// `rotate` signs with new keys and publishes them beside the old ones, `withdraw` publishes the new ones only.
// It ends when stdin does, so it never outlives whoever started it.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

console.info = console.error; // the library's remarks are not answers

const RESOURCES = 'https://api.test/'; // a resource is named RESOURCES + dialect + '/' + algorithm
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'];
const SCOPE = 'read:orders write:orders ship:orders';

// What the `permissions` claim says for a user or a client; for anybody else there is no such claim.
const PERMISSIONS = {
  'auth0|jo': ['read:orders', 'ship:orders'],
  'auth0|new': [],
  machine: ['read:orders'],
};

const confidential = {
  client_secret: 'secret-of-a-machine',
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
};
const publicClient = { token_endpoint_auth_method: 'none', redirect_uris: ['https://app.test/callback'] };
// The page at /docs of an API on this machine. A native client's loopback redirect may be on any port (RFC 8252).
const docsPage = {
  ...publicClient,
  application_type: 'native',
  redirect_uris: ['http://127.0.0.1/docs/oauth2-redirect'],
};
const CLIENTS = [
  { client_id: 'machine', scope: SCOPE, ...confidential },
  { client_id: 'batch', scope: SCOPE, ...confidential },
  { client_id: 'app', scope: `openid profile ${SCOPE}`, ...publicClient },
  { client_id: 'partner', scope: `openid profile ${SCOPE}`, ...publicClient },
  { client_id: 'docs', scope: `openid profile ${SCOPE}`, ...docsPage },
];

function describe(indicator) {
  const [dialect, alg] = indicator.slice(RESOURCES.length).split('/');
  return { dialect, alg };
}

function resourceServer(_ctx, indicator) {
  const { dialect, alg } = describe(indicator);
  const format =
    dialect === 'opaque' ? { accessTokenFormat: 'opaque' } : { accessTokenFormat: 'jwt', jwt: { sign: { alg } } };
  return { scope: SCOPE, audience: indicator, accessTokenTTL: 3600, ...format };
}

function permissions(_ctx, token) {
  const claim = PERMISSIONS[token.accountId ?? token.clientId];
  return describe(token.aud ?? '').dialect?.endsWith('_authz') && claim ? { permissions: claim } : undefined;
}

// Rewrites what this server would say into what an Auth0 tenant says; RFC 9068 tokens stay as they are.
function customize(_ctx, token, parts) {
  const { dialect } = describe(token.aud);
  if (dialect === 'rfc9068') return;
  const { payload } = parts;
  const isMachine = token.kind === 'ClientCredentials';
  if (isMachine) {
    payload.sub = `${payload.client_id}@clients`;
  } else {
    payload.scope = ['openid', 'profile', payload.scope].filter(Boolean).join(' ');
    payload.aud = [payload.aud, `${payload.iss}/userinfo`];
  }
  if (dialect.startsWith('access_token')) {
    parts.header = { typ: 'JWT' };
    payload.azp = payload.client_id;
    if (isMachine) payload.gty = 'client-credentials';
    delete payload.client_id;
    delete payload.jti;
  }
}

// Of all clients only the page runs in a browser.
function isPageOrigin(_ctx, origin, client) {
  return client.clientId === 'docs' && new URL(origin).hostname === '127.0.0.1';
}

let generation = 0;

async function generateKeys() {
  generation += 1;
  return Promise.all(ALGORITHMS.map(async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${generation}` };
  }));
}

const server = createServer();
await once(server.listen(0, '127.0.0.1'), 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

// Keys change only with the whole provider: publishing replaces it.
function publish(keys) {
  const provider = new Provider(issuer, {
    clientBasedCORS: isPageOrigin,
    clients: CLIENTS,
    cookies: { keys: ['no secret'] },
    extraTokenClaims: permissions,
    features: {
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        getResourceServerInfo: resourceServer,
        useGrantedResource: () => true,
      },
    },
    findAccount: (_ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    formats: { customizers: { jwt: customize } },
    jwks: { keys },
    scopes: ['openid', 'profile', ...SCOPE.split(' ')],
  });
  const callback = provider.callback();
  server.removeAllListeners('request').on('request', callback);
}

let published = await generateKeys();
let fresh = published;
publish(published);
console.log(issuer);

const COMMANDS = {
  async rotate() {
    fresh = await generateKeys();
    published = [...fresh, ...published];
  },
  async withdraw() {
    published = fresh;
  },
};

for await (const command of createInterface({ input: process.stdin })) {
  await COMMANDS[command]();
  publish(published);
  console.log(command);
}
process.exit();
