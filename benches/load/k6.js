// The scenario of scenario.json for k6, with open-loop arrivals: iterations begin at even distances whether others were answered
// or not, and one that finds nobody free to begin it is counted and fails the run.
//
// Started by `benches/load/run k6`. Environment: BASE, SECONDS_OF_LOAD, RATE (arrivals a second). What was told goes to the console, one line for
// each outcome; the run keeps it in a file.

import exec from 'k6/execution';
import http from 'k6/http';
import { check, sleep } from 'k6';

const scenario = JSON.parse(open('./scenario.json'));
const { percent, limits } = scenario;
const base = __ENV.BASE;
// Answers that say nothing about the outcome, with 0 for none at all: the same id asks again.
const again = [0, 408, 429, 503];

// A limit for each kind of request, so that the summary shows each.
const thresholds = {
  checks: ['rate==1'],
  dropped_iterations: [`count<=${limits.arrivals_left_out}`],
};
for (const name of [...Object.keys(percent), 'sent_again']) {
  thresholds[`http_req_duration{name:${name}}`] = [`p(99)<=${limits.p99_ms}`];
}

export const options = {
  scenarios: {
    customers: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE),
      timeUnit: '1s',
      duration: `${__ENV.SECONDS_OF_LOAD}s`,
      preAllocatedVUs: Math.min(100, scenario.in_flight),
      maxVUs: scenario.in_flight,
      gracefulStop: '60s',
    },
  },
  thresholds,
  summaryTrendStats: ['min', 'med', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
};

// A refusal is an answer.
http.setResponseCallback(http.expectedStatuses(200, 201, 422));

const below = (bound) => Math.floor(Math.random() * bound);
const customer = () => scenario.first_customer + below(scenario.customers);

export default function () {
  const number = exec.scenario.iterationInTest;
  let chance = Math.random() * 100;
  const step = Object.keys(percent).find((name) => (chance -= percent[name]) < 0) || 'transfer';
  try {
    steps[step](number);
  } catch (error) {
    // An answer that can not even be read is wrong too.
    right({ status: 'unreadable', body: error }, step, false);
  }
}

const steps = {
  transfer(number) {
    const debit = customer();
    let credit = customer();
    while (credit === debit) credit = customer();
    move(number, debit, credit, 'transfer');
  },

  pay_merchant(number) {
    move(number, customer(), scenario.merchant, 'pay_merchant');
  },

  too_much(number) {
    const body = order(number, scenario.broke, scenario.merchant);
    const first = post('/v1/transfers', body, 'too_much');
    // Where the first answer was lost, the refusal has used up the id.
    right(first, 'refused', first.status === 422 && ['exceeds_credits', 'id_already_failed'].includes(first.json('code')));
    const second = post('/v1/transfers', body, 'too_much');
    right(second, 'stays refused', second.status === 422 && second.json('code') === 'id_already_failed');
  },

  read() {
    const account = customer();
    const answer = get(`/v1/accounts/${account}`, 'read');
    right(answer, 'the account', answer.status === 200 && answer.json('id') === String(account)
      && !answer.json('available').startsWith('-'));
  },

  history() {
    const account = Math.random() < 0.5 ? scenario.merchant : customer();
    const path = `/v1/accounts/${account}/transfers?limit=${scenario.page}`;
    const answer = get(path, 'history');
    if (!right(answer, 'a page', answer.status === 200)) return;
    const page = answer.json();
    right(answer, 'of the account', page.data.every((transfer) =>
      [transfer.debit_account_id, transfer.credit_account_id].includes(String(account))));
    if (!page.has_more) return;
    const following = get(`${path}&cursor=${page.next_cursor}`, 'history');
    const seen = new Set(page.data.map((transfer) => transfer.id));
    right(following, 'the next page', following.status === 200
      && following.json('data').every((transfer) => !seen.has(transfer.id)));
  },

  open_account(number) {
    const id = String(scenario.first_new_account + number);
    const answer = post('/v1/accounts', { id }, 'open_account');
    if (right(answer, 'opened', [200, 201].includes(answer.status))) console.log(`account ${id}`);
  },
};

function order(number, debit, credit) {
  return {
    id: String(scenario.first_transfer + number),
    debit_account_id: String(debit),
    credit_account_id: String(credit),
    amount: ((1 + below(scenario.largest_amount_cents)) / 100).toFixed(2),
  };
}

function move(number, debit, credit, name) {
  const body = order(number, debit, credit);
  const words = `${body.id} ${body.debit_account_id} ${body.credit_account_id} ${body.amount}`;
  const answer = post('/v1/transfers', body, name);
  if (!right(answer, 'moved', [200, 201].includes(answer.status))) {
    if (again.includes(answer.status)) console.log(`unknown ${words}`);
    return;
  }
  console.log(`moved ${words}`);
  if (Math.random() * 100 < scenario.sent_again_percent) {
    const second = post('/v1/transfers', body, 'sent_again');
    right(second, 'the same again', second.status === 200 && second.headers['Idempotent-Replayed'] === 'true'
      && second.json('timestamp') === answer.json('timestamp'));
  }
}

// Posts it until somebody says what became of it.
function post(path, body, name) {
  let answer;
  for (let attempt = 0; attempt < scenario.attempts; attempt += 1) {
    if (attempt > 0) sleep((scenario.pause_ms / 1000) * 2 ** (attempt - 1));
    answer = http.post(base + path, JSON.stringify(body), {
      headers: { 'Content-Type': 'application/json' }, tags: { name }, timeout: '40s',
    });
    if (!again.includes(answer.status)) break;
  }
  return answer;
}

function get(path, name) {
  return http.get(base + path, { tags: { name }, timeout: '40s' });
}

// Whether the contract allows this answer.
function right(answer, what, is) {
  if (!is) console.log(`wrong ${what} ${answer.status} ${String(answer.body).slice(0, 200).replace(/\s+/g, ' ')}`);
  return check(answer, { [what]: () => is });
}
