// BigCapital takes its secrets from the environment alone. For each variable NAME_FILE, this sets NAME to the content of that file, unless NAME is set.
// Node runs it before the application: NODE_OPTIONS=--require=/etc/secrets.js
'use strict';

const fs = require('node:fs');

for (const [variable, file] of Object.entries(process.env)) {
  const name = variable.replace(/_FILE$/, '');
  if (name === variable || !file || process.env[name]) continue; // the images of BigCapital set some to an empty text
  try {
    process.env[name] = fs.readFileSync(file, 'utf8').replace(/\n$/, '');
  } catch (err) {
    console.error(`secrets.js: error: ${variable}: ${err.message}`);
    process.exit(1);
  }
}
