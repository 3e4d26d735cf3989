-- 8,190 transfers a request, each under an id of its own. Words after `--`: the count of accounts, `uniform` or `hot`, and the
-- form. `hot` credits account 1 every time.
--
-- Writing a batch takes longer than deciding it, so a few are written before the load begins, and only the part of their ids
-- that tells one batch from another is written into them for each request. An answer counts only if it says that all were created.

local ffi = require("ffi")
local here = debug.getinfo(1, "S").source:match("^@(.*/)")
local result = dofile(here .. "result.lua")
local name = dofile(here .. "names.lua")

local SIZE = 8190
-- Written before by each thread, so that no accounts of one batch are the next one's.
local BATCHES = 4

-- How a batch looks: what stands before, between and behind its transfers, one transfer, where in it the bytes are that differ
-- from batch to batch, and these bytes for a number.
local forms = {
   json = {
      content_type = "application/json",
      before = "[", between = ",", behind = "]",
      -- The last 12 digits of the id: 8 for the batch, 4 for the place in it.
      transfer = function(prefix, place, debit, credit)
         return string.format('{"id":"%s00000000%04x","debit_account_id":%d,"credit_account_id":%d,"amount":"0.01"}',
            prefix, place, debit, credit)
      end,
      mark_at = function(prefix) return #'{"id":"' + #prefix end,
      mark = function(number) return string.format("%08x", number) end,
   },
}

local threads = {}
local form, batches
local sent = 0

function setup(thread)
   table.insert(threads, thread)
   thread:set("number", #threads)
   thread:set("refused", 0)
end

-- One batch as a whole request, and where its marks are.
local function written(prefix, accounts, hot)
   local parts, marks = {}, ffi.new("int32_t[?]", SIZE)
   local length, mark_at = #form.before, form.mark_at(prefix)
   for place = 1, SIZE do
      local debit = math.random(2, accounts)
      local credit = 1
      if not hot then
         credit = math.random(1, accounts - 1)
         if credit >= debit then credit = credit + 1 end
      end
      local transfer = form.transfer(prefix, place, debit, credit)
      marks[place - 1] = length + mark_at
      length = length + #transfer + #form.between
      parts[place] = transfer
   end
   local body = form.before .. table.concat(parts, form.between) .. form.behind
   local request = wrk.format("POST", "/v1/transfers/batch", { ["Content-Type"] = form.content_type }, body)
   local head = #request - #body
   for place = 0, SIZE - 1 do marks[place] = marks[place] + head end
   local bytes = ffi.new("char[?]", #request)
   ffi.copy(bytes, request, #request)
   return { bytes = bytes, length = #request, marks = marks }
end

function init(args)
   local accounts = tonumber(args[1]) or 10000
   form = assert(forms[args[3] or "json"], "no such form")
   math.randomseed(os.time() * 1000 + number)
   local prefix = name(number)
   batches = {}
   for batch = 1, BATCHES do batches[batch] = written(prefix, accounts, args[2] == "hot") end
end

function request()
   sent = sent + 1
   local batch = batches[sent % BATCHES + 1]
   local mark = form.mark(sent)
   local bytes, marks = batch.bytes, batch.marks
   for place = 0, SIZE - 1 do ffi.copy(bytes + marks[place], mark, #mark) end
   return ffi.string(bytes, batch.length)
end

function response(status, headers, body)
   if status == 200 and not body:find('"created":' .. SIZE .. ",", 1, true) then refused = refused + 1 end
end

function done(summary, latency)
   local refused = 0
   for _, thread in ipairs(threads) do refused = refused + thread:get("refused") end
   result(summary, latency, refused)
end
