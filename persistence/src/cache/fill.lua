-- KEYS: epoch, changes, moving part, static part
-- ARGV: name of the epoch, position of the answer, version of the account, moving part, static part, place of its slot, place of the slot of its
--       static part, milliseconds to live
local epoch = redis.call('GET', KEYS[1])
if not epoch or string.sub(epoch, 34, 41) ~= ARGV[1] then
  return 0
end
local slot = redis.call('GETRANGE', KEYS[2], ARGV[6], ARGV[6] + 7)
local static_slot = redis.call('GETRANGE', KEYS[2], ARGV[7], ARGV[7] + 7)
local covered, began = struct.unpack('>I8I8', epoch, 10)
local position = tonumber(ARGV[2])
if #slot ~= 8 or #static_slot ~= 8 or position < began or position > covered then
  return 0
end
local stands = redis.call('GETRANGE', KEYS[3], 1, 8)
local is_newer = #stands == 8 and struct.unpack('>I8', stands) > tonumber(ARGV[3])
local is_current = position >= struct.unpack('>I8', slot) and not is_newer
-- Of an account that moves all the time a late answer still tells what does not move.
if is_current or position >= struct.unpack('>I8', static_slot) then
  redis.call('SET', KEYS[4], ARGV[5], 'PX', ARGV[8])
end
if not is_current then
  return 0
end
redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[8])
return 1
