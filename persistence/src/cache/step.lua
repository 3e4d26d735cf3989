-- KEYS: epoch, changes
-- ARGV: the epoch that must stand, the epoch after the step, what keys begin with, entries,
--       the position to note in their slots, milliseconds that entries live, milliseconds that the epoch lives
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('EXISTS', KEYS[2]) == 0 then
  return 0
end
local within, entries, note, live = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local at, size = 1, #entries
while at <= size do
  local key, value, slot
  key, value, slot, at = struct.unpack('>Bc0Hc0I4', entries, at)
  if #value == 0 then
    redis.call('DEL', within .. key)
  else
    redis.call('SET', within .. key, value, 'PX', live)
  end
  if slot ~= 4294967295 then
    redis.call('SETRANGE', KEYS[2], slot, note)
  end
end
-- The first write must be one that a full server refuses: it refuses none in the middle.
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
return 1
