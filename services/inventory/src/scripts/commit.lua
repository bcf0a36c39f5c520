-- order.paid: the held stock is sold. What is available does not change, so no product does. Answers as release does.
local state = state_of()
if state == 'none' then
  record('tombstone', '[]', '')
  return {tell_only('stock.commit_refused'), 1, 0}
end
if state == 'committed' then return {tell_only('stock.committed'), 0, 0} end
if state ~= 'reserved' then return {tell_only('stock.commit_refused'), 0, 0} end

local quantities = held_quantities()
if not quantities then return {'conflict', 0, 0} end
for line = 1, #quantities do
  redis.call('HINCRBY', stock_key(line), 'reserved', -quantities[line])
  redis.call('HINCRBY', stock_key(line), 'on_hand', -quantities[line])
end
advance('committed')
return {tell_only('stock.committed'), 1, 0}
