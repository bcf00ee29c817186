'use strict';

const $ = (id) => document.getElementById(id);
const plural = { asset: 'Assets', liability: 'Liabilities', equity: 'Equity', income: 'Income', expense: 'Expenses' };
const money = (amount) => amount.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });

// element returns a new element with text or children. Nothing from the server is parsed as HTML.
function element(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

// api resolves with the JSON of a successful response. It rejects with an error whose message is for users and whose `refused` says
// whether the server refused the request. If not, the server may have carried it out.
async function api(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw Object.assign(new Error('The server could not be reached.'), { refused: false });
  }
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body;
  const refused = response.status >= 400 && response.status < 500;
  throw Object.assign(new Error(body?.message ?? `The server answered with status ${response.status}.`), { refused });
}

async function showAccounts() {
  const { server, accounts } = await api('/api/accounts');
  const rows = [];
  let group = '';
  for (const { code, name, type, balance } of accounts) {
    if (type !== group) {
      group = type;
      rows.push(element('tr', {}, element('th', { colspan: 3, scope: 'rowgroup' }, plural[type] ?? type)));
    }
    rows.push(element('tr', {}, element('td', {}, code), element('td', {}, name), element('td', { class: 'money' }, money(balance))));
  }
  $('accounts').replaceChildren(...rows);
  $('accounts-by').textContent = `from ${server}`;
}

async function showInvoices() {
  const { server, invoices } = await api('/api/invoices');
  $('invoices').replaceChildren(...invoices.slice(0, 8).map(({ number, customer, amount, postedBy }) => element('tr', {},
    element('td', {}, number),
    element('td', {}, customer, element('small', {}, `posted by ${postedBy}`)),
    element('td', { class: 'money' }, money(amount)))));
  $('invoices-by').textContent = `from ${server}`;
}

async function refresh() {
  try {
    await Promise.all([showAccounts(), showInvoices()]);
    $('accounts-problem').textContent = '';
  } catch (problem) {
    $('accounts-problem').textContent = `The accounts could not be loaded. ${problem.message}`;
  }
}

$('invoice').addEventListener('submit', async (submit) => {
  submit.preventDefault();
  const form = submit.target;
  const button = form.querySelector('button');
  const draft = { customer: form.customer.value, amount: Number(form.amount.value) };
  $('invoice-note').textContent = $('invoice-problem').textContent = '';
  button.disabled = true;
  try {
    const { server, invoice } = await api('/api/invoices', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(draft),
    });
    $('invoice-note').textContent = `${invoice.number} was posted by ${server}.`;
    form.reset();
    await refresh();
  } catch (problem) {
    const outcome = problem.refused ? 'The invoice was not posted:' : 'The invoice may have been posted; reload the page to see.';
    $('invoice-problem').textContent = `${outcome} ${problem.message}`;
  } finally {
    button.disabled = false;
  }
});

let isStale = false; // whether the accounts may have changed while the socket was lost
const client = new SocketIOClient('/socket/', {
  state(name, attempt) {
    $('socket-state').textContent = name === 'reconnecting' ? `reconnecting (attempt ${attempt})` : name;
    $('socket-pill').dataset.state = name;
    $('echo').disabled = name !== 'live';
    if (name === 'live' && isStale) refresh();
    isStale = name === 'reconnecting';
  },
  event(name, argument) {
    $('socket-server').textContent = argument.server;
    if (name !== 'tick') return;
    $('socket-tick').textContent = new Date(argument.time).toLocaleTimeString();
    $('socket-visitors').textContent = argument.visitors;
  },
});

$('echo').addEventListener('click', async () => {
  const sent = performance.now();
  try {
    await client.emitWithAck('echo', sent);
    $('echo-time').textContent = `${(performance.now() - sent).toFixed(1)} ms`;
  } catch {
    $('echo-time').textContent = 'lost';
  }
});

refresh();
