-- order.placed: hold all lines or none. ARGV: 7 currency, then for each line product id, quantity, expected unit price
-- ('' for none). Answers {event type, 1 if something changed, 0}.
local state = state_of()
if state == 'reserved' then return {tell_reserved(), 0, 0} end
if state == 'rejected' then return {tell_rejected(), 0, 0} end
if state == 'committed' then return {tell_only('stock.committed'), 0, 0} end
if state ~= 'none' then return {tell_only('stock.released'), 0, 0} end

local function refusal(line, product_id, quantity, expected)
  local document = redis.call('JSON.GET', product_key(line), '.archived', '.price.amount', '.price.currency')
  if not document then return 'unknown_product' end
  local product = cjson.decode(document)
  local price = product['.price.amount']
  if product['.archived'] then return 'archived' end
  if product['.price.currency'] ~= ARGV[7] then return 'currency_mismatch' end
  if expected ~= '' and tonumber(expected) ~= price then return 'price_changed' end
  if available(line) < quantity then return 'insufficient_stock' end
  return nil, string.format('{"product_id":"%s","quantity":%.0f,"unit_price":%.0f}', product_id, quantity, price)
end

local taken, quantities = {}, {}
for line = 1, line_count() do
  local product_id, quantity = ARGV[5 + 3 * line], tonumber(ARGV[6 + 3 * line])
  local reason, priced = refusal(line, product_id, quantity, ARGV[7 + 3 * line])
  if reason then
    record('rejected', '[]', ',"reason":"' .. reason .. '","product_id":"' .. product_id .. '"')
    return {tell_rejected(), 1, 0}
  end
  taken[line], quantities[line] = priced, quantity
end

for line = 1, #taken do
  redis.call('HINCRBY', stock_key(line), 'reserved', quantities[line])
  if available(line) == 0 then set_in_stock(line, false) end
end
record('reserved', '[' .. table.concat(taken, ',') .. ']', '')
return {tell_reserved(), 1, 0}
