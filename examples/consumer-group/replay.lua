-- Puts one dead letter back into its stream, as it was, and removes it from the dead letters, in one step.
-- redis-cli EVAL "$(cat replay.lua)" 2 STREAM STREAM:dead:GROUP ID; answers 1, or 0 when there is no such letter.
local letter = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
if not letter then return 0 end
-- The first four fields and their values say why it is here; its own fields follow.
-- More than 3,500 fields are kept in one piece, which no script can take apart and add.
if letter[2][9] == 'dead-letter.packed' then return redis.error_reply('ERR too many fields for a script; XADD them yourself') end
redis.call('XADD', KEYS[1], '*', unpack(letter[2], 9))
redis.call('XDEL', KEYS[2], ARGV[1])
return 1
