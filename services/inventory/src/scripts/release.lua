-- order.cancelled, order.declined: hold nothing any more. Answers {event type, 1 if something changed, 1 if alarm}, or
-- {'conflict', 0, 0} when the declared lines are not the reservation's.
local state = state_of()
if state == 'none' then
  -- A tombstone: the order.placed that comes late must take nothing.
  record('tombstone', '[]', '')
  return {tell_only('stock.released'), 1, 0}
end
if state == 'committed' then return {tell_only('stock.committed'), 0, 1} end
if state == 'rejected' then return {tell_rejected(), 0, 0} end
if state ~= 'reserved' then return {tell_only('stock.released'), 0, 0} end

local quantities = held_quantities()
if not quantities then return {'conflict', 0, 0} end
for line = 1, #quantities do
  local before = available(line)
  redis.call('HINCRBY', stock_key(line), 'reserved', -quantities[line])
  if before == 0 then set_in_stock(line, true) end
end
advance('released')
return {tell_only('stock.released'), 1, 0}
