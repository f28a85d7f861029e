-- Tells whether a commit was applied. KEYS: its id. ARGV: for how many milliseconds it is remembered
-- from now on. Both ways it writes: a replica refuses it, and replicas that are waited for have it.
local at = redis.call('GET', KEYS[1])
if at then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
else
    redis.call('DEL', KEYS[1])
end
return {at or '', redis.call('TIME')}
