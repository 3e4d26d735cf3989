-- KEYS: epoch, changes, moving part, static part
-- ARGV: name of the epoch, position of the answer, version of the account, moving part, static part, place of the slot, milliseconds to live
local epoch = redis.call('GET', KEYS[1])
if not epoch or string.sub(epoch, 34, 41) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[4], ARGV[5], 'PX', ARGV[7])
local slot = redis.call('GETRANGE', KEYS[2], ARGV[6], ARGV[6] + 7)
if #slot ~= 8 then
  return 0
end
local began, changed, position = struct.unpack('>I8', epoch, 18), struct.unpack('>I8', slot), tonumber(ARGV[2])
if position < began or position < changed then
  return 0
end
local stands = redis.call('GETRANGE', KEYS[3], 1, 8)
if #stands == 8 and struct.unpack('>I8', stands) > tonumber(ARGV[3]) then
  return 0
end
redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[7])
return 1
