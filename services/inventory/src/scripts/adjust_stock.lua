-- ARGV: 8 delta, 9 reason as JSON text, 10 upper bound.
-- Answers {outcome, on_hand, reserved, record}: outcome is adjusted, not_found, insufficient_stock or out_of_range; or it
-- is repeated, with the record of the same request, sent before.
local record = earlier()
if record then return {'repeated', 0, 0, record} end
if redis.call('EXISTS', KEYS[1]) == 0 then return {'not_found', 0, 0, ''} end
local stock = redis.call('HMGET', KEYS[2], 'on_hand', 'reserved', 'received')
for _, figure in ipairs(stock) do
  if figure and not string.find(figure, '^-?%d+$') then return corrupt('stock') end
end
local on_hand, reserved = tonumber(stock[1] or '0'), tonumber(stock[2] or '0')
local after = on_hand + tonumber(ARGV[8])
if after < reserved then return {'insufficient_stock', on_hand, reserved, ''} end
if after > tonumber(ARGV[10]) then return {'out_of_range', on_hand, reserved, ''} end

redis.call('HINCRBY', KEYS[2], 'on_hand', ARGV[8])
redis.call('HINCRBY', KEYS[2], 'received', ARGV[8])
if (on_hand > reserved) ~= (after > reserved) then
  redis.call('JSON.MERGE', KEYS[1], '$', '{"in_stock":' .. tostring(after > reserved) .. '}')
end
local figures = string.format('"on_hand":%.0f,"reserved":%.0f', after, reserved)
redis.call('XADD', KEYS[3], 'MINID', '~', kept_from(), '*', 'id', ARGV[2], 'type', 'stock.adjusted',
  'subject', ARGV[1], 'time', ARGV[3], 'traceparent', ARGV[4], 'request_id', ARGV[5], 'data',
  '{"product_id":"' .. ARGV[1] .. '","delta":' .. ARGV[8] .. ',"reason":' .. ARGV[9] .. ',' .. figures .. '}')
-- The stock will have changed when the reply is asked for again, so its figures go into the record, at its end.
remember(string.sub(ARGV[6], 1, -2) .. ',"result":{"created_at":"' .. ARGV[3] .. '",' .. figures .. '}}')
return {'adjusted', after, reserved, ''}
