-- One transfer a request, under an id of its own, as a client sends it that can try again. Words after `--`: the count of
-- accounts, `uniform` or `hot`, and transfers a second of each of the threads; without it as many as are answered. `hot`
-- credits account 1 every time.

local here = debug.getinfo(1, "S").source:match("^@(.*/)")
local result = dofile(here .. "result.lua")
local name = dofile(here .. "names.lua")
local accounts, hot, prefix, interval, due
local counter, sent = 0, 0

function setup(thread)
   counter = counter + 1
   thread:set("number", counter)
end

function init(args)
   accounts = tonumber(args[1]) or 10000
   hot = args[2] == "hot"
   math.randomseed(os.time() * 1000 + number)
   prefix = name(number)
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
   sent = sent + 1
   return wrk.format(nil, nil, nil, string.format(
      '{"id":"%s%012x","debit_account_id":%d,"credit_account_id":%d,"amount":"0.01"}', prefix, sent, debit, credit))
end

function done(summary, latency)
   result(summary, latency, 0)
end
