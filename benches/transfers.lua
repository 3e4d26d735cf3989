-- One transfer a request. Words after `--`: the count of accounts, `uniform` or `hot`, and transfers a second of each of the
-- threads; without it as many as are answered. Without an id in it each request is a new transfer; `hot` credits account 1
-- every time.

local accounts, hot, interval, due
local counter = 0

function setup(thread)
   counter = counter + 1
   thread:set("number", counter)
end

function init(args)
   accounts = tonumber(args[1]) or 10000
   hot = args[2] == "hot"
   math.randomseed(os.time() * 1000 + number)
   if args[3] then pace(tonumber(args[3])) end
   wrk.method = "POST"
   wrk.path = "/v1/transfers"
   wrk.headers["Content-Type"] = "application/json"
end

-- Requests are due at even distances, and late ones at once. wrk asks for the delay of each in milliseconds.
function pace(rate)
   local ffi = require("ffi")
   ffi.cdef [[
      typedef struct { long seconds; long nanoseconds; } timespec;
      int clock_gettime(int clock, timespec *time);
   ]]
   local time = ffi.new("timespec")
   local function now()
      ffi.C.clock_gettime(1, time)
      return tonumber(time.seconds) * 1e3 + tonumber(time.nanoseconds) / 1e6
   end
   interval = 1e3 / rate
   due = now()
   function delay()
      due = due + interval
      return math.max(0, math.floor(due - now()))
   end
end

function request()
   local debit = math.random(2, accounts)
   local credit = 1
   if not hot then
      credit = math.random(1, accounts - 1)
      if credit >= debit then credit = credit + 1 end
   end
   local body = string.format('{"debit_account_id":%d,"credit_account_id":%d,"amount":"0.01"}', debit, credit)
   return wrk.format(nil, nil, nil, body)
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format("RESULT %.0f %.3f %.3f %d %d\n",
      summary.requests / (summary.duration / 1e6),
      latency:percentile(50) / 1e3,
      latency:percentile(99) / 1e3,
      summary.requests,
      errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
