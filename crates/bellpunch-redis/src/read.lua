-- Reads records and floors at one instant.
--
-- KEYS: a key that nothing is ever stored at, the partition's floors, the records. ARGV: kinds.
--
-- Removes nothing, but a replica refuses it: what it holds may be old.
redis.call('DEL', KEYS[1])
return {redis.call('MGET', unpack(KEYS, 3)), redis.call('HMGET', KEYS[2], unpack(ARGV))}
