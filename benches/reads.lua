-- One account a request, uniform over all. Word after `--`: the count of accounts.

local accounts
local counter = 0

function setup(thread)
   counter = counter + 1
   thread:set("number", counter)
end

function init(args)
   accounts = tonumber(args[1]) or 10000
   math.randomseed(os.time() * 1000 + number)
end

function request()
   return wrk.format("GET", "/v1/accounts/" .. math.random(1, accounts))
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
