-- One account a request, uniform over all. Word after `--`: the count of accounts.

local result = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "result.lua")
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

function done(summary, latency)
   result(summary, latency, 0)
end
