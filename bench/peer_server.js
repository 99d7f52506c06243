// The peer: a server made of App Connect's published package, with one connector for the stub CRM.
// The same calls as in connector.py: one POST for an activity, one PATCH for an addition.
'use strict';

const crypto = require('crypto');
const http = require('http');

const { BENCH_CRM_URL, BENCH_MENDED } = process.env;

// Made up for this run; the package reads both from the environment.
process.env.APP_SERVER_SECRET_KEY = crypto.randomBytes(32).toString('hex');
process.env.HASH_KEY = crypto.randomBytes(32).toString('hex');

const axios = require('axios');
const core = require('@app-connect/core');
const { UserModel } = require('@app-connect/core/models/userModel');
const tokens = require('@app-connect/core/lib/jwt');

if (BENCH_MENDED === '1') {
  // As published, a secret in text form makes the JWT library try to read it as a public key first, at every check.
  // A key object spares it that. Nothing else is changed.
  const { verify } = require('jsonwebtoken');
  const key = crypto.createSecretKey(Buffer.from(process.env.APP_SERVER_SECRET_KEY));
  tokens.decodeJwt = (token) => {
    try {
      return verify(token, key);
    } catch {
      return null;
    }
  };
}

const crm = axios.create({
  baseURL: BENCH_CRM_URL,
  httpAgent: new http.Agent({ keepAlive: true, maxSockets: 256 }),
  proxy: false,
});

function headers(authHeader) {
  return { headers: { Authorization: authHeader } };
}

function written(message) {
  return `${message.creationTime} ${message.direction}: ${message.subject}`;
}

// The registry wants these to be there; nobody asks them here.
const unasked = async () => ({});

const connector = {
  createCallLog: unasked,
  updateCallLog: unasked,
  findContact: unasked,
  createContact: unasked,
  getAuthType: async () => 'apiKey',
  getBasicAuth: ({ apiKey }) => Buffer.from(`${apiKey}:`).toString('base64'),
  getLogFormatType: () => 'text/plain',
  async createMessageLog({ contactInfo, message, sharedSMSLogContent, authHeader }) {
    const text = sharedSMSLogContent ?? { subject: `SMS with ${contactInfo.name}`, body: written(message) };
    const activity = { type: 'SMS', contactId: contactInfo.id, subject: text.subject, body: text.body };
    const { data } = await crm.post('/activities', activity, headers(authHeader));
    return { logId: data.id, returnMessage: { message: 'Message logged', messageType: 'success', ttl: 1000 } };
  },
  async updateMessageLog({ existingMessageLog, message, sharedSMSLogContent, authHeader }) {
    const path = `/activities/${existingMessageLog.thirdPartyLogId}`;
    const change = sharedSMSLogContent ? { body: sharedSMSLogContent.body } : { append: written(message) };
    await crm.patch(path, change, headers(authHeader));
    return { returnMessage: { message: 'Message logged', messageType: 'success', ttl: 1000 } };
  },
};

async function main() {
  core.connectorRegistry.registerConnector('bench', connector);
  await core.initializeCore();
  const user = {
    id: 'u-1-bench',
    platform: 'bench',
    rcAccountId: 'a-1',
    hostname: 'localhost',
    timezoneOffset: '-07:00',
    accessToken: 'bench-key',
    platformAdditionalInfo: {},
    userSettings: {},
  };
  await UserModel.upsert(user);
  const app = core.createCoreApp({ skipDatabaseInit: true, skipAnalyticsInit: true });
  const server = app.listen(0, '127.0.0.1', 1024, () => {
    const token = tokens.generateJwt({ id: user.id, platform: user.platform });
    console.log(JSON.stringify({ port: server.address().port, token }));
  });
  server.keepAliveTimeout = 60_000; // not to cut off the benchmark's connections between two runs
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
