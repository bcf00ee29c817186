'use strict';

const $ = (id) => document.getElementById(id);
const plural = { asset: 'Assets', liability: 'Liabilities', equity: 'Equity', income: 'Income', expense: 'Expenses' };
const money = (amount) => amount.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });

// element makes one, with text or children; nothing from the server is ever read as HTML.
function element(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

// api resolves with the JSON of a good answer and rejects with words for a person, and with whether the server refused:
// if it didn't, what was asked of it may have been done.
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
  throw Object.assign(new Error(body?.message ?? `The answer was ${response.status}.`), { refused });
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
    element('td', {}, customer, element('small', {}, `taken by ${postedBy}`)),
    element('td', { class: 'money' }, money(amount)))));
  $('invoices-by').textContent = `from ${server}`;
}

async function refresh() {
  try {
    await Promise.all([showAccounts(), showInvoices()]);
    $('accounts-problem').textContent = '';
  } catch (problem) {
    $('accounts-problem').textContent = `The books could not be loaded. ${problem.message}`;
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
    const outcome = problem.refused ? 'The invoice was not posted:' : 'Look below whether the invoice was posted.';
    $('invoice-problem').textContent = `${outcome} ${problem.message}`;
  } finally {
    button.disabled = false;
  }
});

let missed = false; // whether the books may have changed unseen
const live = new Live('/socket/', {
  state(name, attempt) {
    $('socket-state').textContent = name === 'reconnecting' ? `reconnecting (attempt ${attempt})` : name;
    $('socket-pill').dataset.state = name;
    $('echo').disabled = name !== 'live';
    if (name === 'live' && missed) refresh();
    missed = name === 'reconnecting';
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
    await live.ask('echo', sent);
    $('echo-time').textContent = `${(performance.now() - sent).toFixed(1)} ms`;
  } catch {
    $('echo-time').textContent = 'lost';
  }
});

refresh();
