-- KEYS: 1 product, 2 stock, 3 catalogue stream.
-- ARGV: 1 product id, 2 event id, 3 time, 4 traceparent, 5 request id, 6 delta, 7 reason as JSON text, 8 upper bound.
-- Answers {outcome, on_hand, reserved}: outcome is adjusted, not_found, insufficient_stock or out_of_range.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'not_found', 0, 0} end
local stock = redis.call('HMGET', KEYS[2], 'on_hand', 'reserved')
local on_hand, reserved = tonumber(stock[1] or '0'), tonumber(stock[2] or '0')
local after = on_hand + tonumber(ARGV[6])
if after < reserved then return {'insufficient_stock', on_hand, reserved} end
if after > tonumber(ARGV[8]) then return {'out_of_range', on_hand, reserved} end

redis.call('HINCRBY', KEYS[2], 'on_hand', ARGV[6])
if (on_hand > reserved) ~= (after > reserved) then
  redis.call('JSON.MERGE', KEYS[1], '$', '{"in_stock":' .. tostring(after > reserved) .. '}')
end
redis.call('XADD', KEYS[3], 'MINID', '~', kept_from(), '*', 'id', ARGV[2], 'type', 'stock.adjusted',
  'subject', ARGV[1], 'time', ARGV[3], 'traceparent', ARGV[4], 'request_id', ARGV[5], 'data',
  string.format('{"product_id":"%s","delta":%s,"reason":%s,"on_hand":%.0f,"reserved":%.0f}',
    ARGV[1], ARGV[6], ARGV[7], after, reserved))
return {'adjusted', after, reserved}
