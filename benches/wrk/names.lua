-- Ids that no other thread and no other run has: UUIDs of version 7, as clients make them. Loaded by the scripts that send transfers.

-- All but the last 12 digits of a thread's ids: the second in which it began, its number, and chance.
return function(number)
   local random = assert(io.open("/dev/urandom", "rb"))
   local a, b, c = random:read(3):byte(1, 3)
   random:close()
   local moment = string.format("%012x", os.time() * 1000 + (a * 256 + b) % 1000)
   return string.format("%s-%s-7%03x-8%03x-", moment:sub(1, 8), moment:sub(9), number, c)
end
