"""The scenario of scenario.json for locust, with open-loop arrivals: requests come at even distances whether others were answered or
not, and the time to an answer counts from the moment at which its request was due.

Started by `benches/load/run locust`. Environment: SECONDS_OF_LOAD, RATE (arrivals a second), OUTCOMES (the file for what was told).
"""

import json
import os
import random
import time
from pathlib import Path

import gevent
from gevent.pool import Pool
from locust import FastHttpUser, events, task

SCENARIO = json.loads(Path(__file__).with_name("scenario.json").read_text())
LIMITS = SCENARIO["limits"]
SECONDS = float(os.environ["SECONDS_OF_LOAD"])
RATE = float(os.environ["RATE"])
# Answers that say nothing about the outcome, with 0 for none at all: the same id asks again.
AGAIN = {0, 408, 429, 503}


class Wrong(Exception):
    """An answer that the contract does not allow."""


class Customers(FastHttpUser):
    """All of them: one user that sends each request when it is due, in a greenlet of its own."""

    concurrency = SCENARIO["in_flight"]
    connection_timeout = 10
    network_timeout = 40

    def on_start(self):
        self.outcomes = open(os.environ["OUTCOMES"], "w", encoding="utf-8")
        self.number = 0
        self.wrong = 0
        self.left_out = 0

    @task
    def arrive(self):
        steps, weights = zip(*SCENARIO["percent"].items())
        under_way = Pool(SCENARIO["in_flight"])
        began = time.perf_counter()
        for arrival in range(int(SECONDS * RATE)):
            due = began + arrival / RATE
            gevent.sleep(max(0, due - time.perf_counter()))
            if under_way.full():
                self.left_out += 1
                continue
            step = random.choices(steps, weights)[0]
            self.number += 1
            under_way.spawn(self.one, step, self.number, due)
        under_way.join()
        self.outcomes.close()
        self.environment.wrong, self.environment.left_out = self.wrong, self.left_out
        self.environment.runner.quit()

    def one(self, step, number, due):
        fault = None
        try:
            getattr(self, step)(number)
        except Exception as wrong:  # an answer that can not even be read is wrong too
            self.wrong += 1
            fault = wrong
        events.request.fire(
            request_type="DUE",
            name=step,
            response_time=(time.perf_counter() - due) * 1e3,
            response_length=0,
            exception=fault,
            context={},
        )

    # The steps.

    def transfer(self, number):
        debit, credit = random.sample(range(SCENARIO["customers"]), 2)
        first = SCENARIO["first_customer"]
        self.move(number, first + debit, first + credit, "transfer")

    def pay_merchant(self, number):
        customer = SCENARIO["first_customer"] + random.randrange(SCENARIO["customers"])
        self.move(number, customer, SCENARIO["merchant"], "pay_merchant")

    def too_much(self, number):
        body = self.order(number, SCENARIO["broke"], SCENARIO["merchant"])
        answer = self.post("/v1/transfers", body, "too_much")
        # Where the first answer was lost, the refusal has used up the id.
        if answer.status_code != 422 or code(answer) not in ("exceeds_credits", "id_already_failed"):
            raise Wrong(told(answer))
        answer = self.post("/v1/transfers", body, "too_much")
        if answer.status_code != 422 or code(answer) != "id_already_failed":
            raise Wrong(told(answer))

    def read(self, _number):
        account = SCENARIO["first_customer"] + random.randrange(SCENARIO["customers"])
        answer = self.get(f"/v1/accounts/{account}", "read")
        if answer["id"] != str(account) or answer["available"].startswith("-"):
            raise Wrong(f"account {account}: {answer}")

    def history(self, _number):
        account = SCENARIO["merchant"]
        if random.random() < 0.5:
            account = SCENARIO["first_customer"] + random.randrange(SCENARIO["customers"])
        path = f"/v1/accounts/{account}/transfers?limit={SCENARIO['page']}"
        page = self.get(path, "history")
        for transfer in page["data"]:
            if str(account) not in (transfer["debit_account_id"], transfer["credit_account_id"]):
                raise Wrong(f"history of {account}: {transfer}")
        if page["has_more"]:
            following = self.get(f"{path}&cursor={page['next_cursor']}", "history")
            seen = {transfer["id"] for transfer in page["data"]}
            if any(transfer["id"] in seen for transfer in following["data"]):
                raise Wrong(f"history of {account}: a transfer on two pages")

    def open_account(self, number):
        account = str(SCENARIO["first_new_account"] + number)
        answer = self.post("/v1/accounts", {"id": account}, "open_account")
        if answer.status_code not in (200, 201):
            raise Wrong(told(answer))
        self.outcomes.write(f"account {account}\n")

    # What the steps are made of.

    def order(self, number, debit, credit):
        cents = random.randint(1, SCENARIO["largest_amount_cents"])
        return {
            "id": str(SCENARIO["first_transfer"] + number),
            "debit_account_id": str(debit),
            "credit_account_id": str(credit),
            "amount": f"{cents // 100}.{cents % 100:02}",
        }

    def move(self, number, debit, credit, name):
        body = self.order(number, debit, credit)
        answer = self.post("/v1/transfers", body, name)
        words = " ".join(body[field] for field in ("id", "debit_account_id", "credit_account_id", "amount"))
        if answer.status_code in AGAIN:
            self.outcomes.write(f"unknown {words}\n")
            raise Wrong(f"no outcome after {SCENARIO['attempts']} attempts: {told(answer)}")
        if answer.status_code not in (200, 201):
            raise Wrong(told(answer))
        self.outcomes.write(f"moved {words}\n")
        if random.uniform(0, 100) < SCENARIO["sent_again_percent"]:
            again = self.post("/v1/transfers", body, "sent_again")
            same = again.json()["timestamp"] == answer.json()["timestamp"]
            if again.status_code != 200 or again.headers.get("Idempotent-Replayed") != "true" or not same:
                raise Wrong(f"sent again: {told(again)}")

    def post(self, path, body, name):
        """Posts it until somebody says what became of it."""
        pause = SCENARIO["pause_ms"] / 1e3
        for attempt in range(SCENARIO["attempts"]):
            with self.client.post(path, json=body, name=name, catch_response=True) as answer:
                # A refusal is an answer.
                if answer.status_code not in AGAIN and answer.status_code < 500:
                    answer.success()
                    return answer
                answer.failure(told(answer))
            if attempt + 1 < SCENARIO["attempts"]:
                gevent.sleep(pause * 2**attempt)
        return answer

    def get(self, path, name):
        with self.client.get(path, name=name, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(told(answer))
                raise Wrong(told(answer))
            return answer.json()


def code(answer):
    return answer.json().get("code")


def told(answer):
    return f"{answer.status_code} {(answer.text or '')[:200]}"


@events.quitting.add_listener
def judge(environment, **_):
    """Whether the limits of the scenario were kept."""
    late = {
        entry.name: entry.get_response_time_percentile(0.99)
        for entry in environment.stats.entries.values()
        if entry.method == "DUE"
    }
    faults = [f"p99 of {name} is {p99:.0f} ms" for name, p99 in late.items() if p99 > LIMITS["p99_ms"]]
    faults += [f"no {step} came" for step in SCENARIO["percent"] if step not in late]
    for limit, text in (("wrong", "wrong_answers"), ("left_out", "arrivals_left_out")):
        count = getattr(environment, limit, None)
        if count is None or count > LIMITS[text]:
            faults.append(f"{text}: {count}")
    for fault in faults:
        print(f"locust: {fault}")
    environment.process_exit_code = 1 if faults else 0
