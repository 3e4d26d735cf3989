-- KEYS: epoch, changes of the new epoch
-- ARGV: version byte, claim of this writer or 0, position, name of 8 bytes, bytes of all slots, milliseconds to live
local claim, position = tonumber(ARGV[2]), tonumber(ARGV[3])
local stands = redis.call('GET', KEYS[1])
local other = 0
if stands and #stands >= 17 then
  local covered
  other, covered = struct.unpack('>I8I8', stands, 2)
  if other > claim and (claim ~= 0 or covered > position) then
    return stands
  end
end
if claim == 0 then
  local now = redis.call('TIME')
  claim = math.max(now[1] * 1000000 + now[2], other + 1)
end
redis.call('SETRANGE', KEYS[2], ARGV[5] - 1, '\0')
redis.call('PEXPIRE', KEYS[2], ARGV[6])
local began = struct.pack('>I8', position)
local epoch = ARGV[1] .. struct.pack('>I8', claim) .. began .. began .. struct.pack('>I8', 0) .. ARGV[4]
redis.call('SET', KEYS[1], epoch, 'PX', ARGV[6])
return epoch
