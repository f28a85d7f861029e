-- Applies commits, each whole or not at all, in order.
--
-- Versions and times are digits of one width and are compared as strings: numbers here are doubles.
-- Redis takes nothing back, so a commit reads and tests everything before its first write. That
-- write may still be refused (no memory, a replica, an append-only file that cannot be written): then
-- nothing of this commit was done, and Redis refuses none after it within the same script.
--
-- KEYS: the list of partitions where ARGV[3] is '1'; then for each commit its id, the partition's
--   index, the partition's floors, and the records.
-- ARGV: [1] the time in tests; [2] for how many milliseconds ids are remembered; [3] see above;
--   [4] how many commits; then for each commit
--     [1] records, kinds, writes, length of what comes before a record's member in its key: ten
--         digits each; now; now less the skew; the deadline or nothing
--     [2] the versions of the first records; those that follow are only written
--     [3] of each record the place of its kind, then of each write the place of its record: two
--         bytes each, the higher first
--     [4] partition
--     then kinds, and for each write its content.
-- Few and long: the server makes a string of each of them, and of what a script cuts out of them.
local FIXED, HEADER = 4, 72
local FORMAT, CONTENT = 49, 86
local NO_VERSION, NO_FLOOR = string.rep('0', 20), string.rep('0', 41)
local byte, sub = string.byte, string.sub
local call, pcall = redis.call, redis.pcall

-- On 6.2 a script that reads the clock must replicate what it does, not itself; later it always does.
if redis.replicate_commands then redis.replicate_commands() end

-- Read once: on some servers it goes on within a script, on others it stands.
local clock = call('TIME')
local time = string.rep('0', 12 - #clock[1]) .. clock[1]
    .. string.rep('0', 6 - #clock[2]) .. clock[2] .. '000'
-- Here tests put their own.

local remember = ARGV[2]
local partitions = ARGV[3] == '1' and KEYS[1]

local function refused(reply)
    return type(reply) == 'table' and reply.err
end

local function higher(one, other)
    if one < other then return other end
    return one
end

local function number_in(head, place)
    return tonumber(sub(head, 10 * place - 9, 10 * place))
end

local function commit(k, a)
    local head, versions, places = ARGV[a], ARGV[a + 1], ARGV[a + 2]
    local records, kinds, writes = number_in(head, 1), number_in(head, 2), number_in(head, 3)
    local id, index, shelf = KEYS[k], KEYS[k + 1], KEYS[k + 2]
    local first_key, first_kind = k + 2, a + FIXED - 1
    local first_write = first_kind + kinds

    local found = pcall('MGET', id, unpack(KEYS, first_key + 1, first_key + records))
    if refused(found) then return {'E', found.err} end
    if found[1] then
        -- A write, so that replicas which are waited for have this commit, too.
        local kept = pcall('PEXPIRE', id, remember)
        if refused(kept) then return {'E', kept.err} end
        return {'C', found[1]}
    end

    local floors
    local function load_floors()
        if floors then return end
        floors = pcall('HMGET', shelf, unpack(ARGV, first_kind + 1, first_kind + kinds))
    end
    local function place(j)
        local high, low = byte(places, 2 * j - 1, 2 * j)
        return 256 * high + low
    end
    local function floor_of(i)
        return floors[place(i)] or NO_FLOOR
    end

    local conflict, expected = {'X'}, #versions / 20
    for i = 1, records do
        local raw = found[i + 1]
        local version, floor
        if raw then
            if #raw < HEADER or byte(raw) ~= FORMAT then return {'D', tostring(i)} end
            version = sub(raw, 2, 21)
        else
            version = NO_VERSION
        end
        if not raw or byte(raw, 64) ~= CONTENT then
            load_floors()
            if refused(floors) then return {'E', floors.err} end
            floor = floor_of(i)
            version = higher(version, sub(floor, 1, 20))
        end
        if i <= expected and version ~= sub(versions, 20 * i - 19, 20 * i) then
            conflict[#conflict + 1] = tostring(i)
            conflict[#conflict + 1] = raw or ''
            conflict[#conflict + 1] = floor or ''
        end
    end
    if 1 < #conflict then return conflict end

    local deadline = sub(head, 83)
    if deadline ~= '' and deadline <= time then return {'L', time} end
    if time < sub(head, 41, 61) then
        local latest = ''
        for i = 1, records do
            local raw = found[i + 1]
            if raw then latest = higher(latest, sub(raw, 22, 42)) end
            if not raw or byte(raw, 64) ~= CONTENT then
                latest = higher(latest, sub(floor_of(i), 21, 41))
            end
        end
        if latest < sub(head, 62, 82) then return {'A', time} end
    end
    if writes == 0 then
        -- Removes nothing, but a replica refuses it: what it would confirm may be old.
        local primary = pcall('DEL', id)
        if refused(primary) then return {'E', primary.err} end
        return {'C', time}
    end

    local prefix, length = number_in(head, 4), 0
    local put, made, gone, gone_keys, raised = {}, {}, {}, {}, nil
    for j = 1, writes do
        local i, value = place(records + j), ARGV[first_write + j]
        local key = KEYS[first_key + i]
        if byte(value) == FORMAT then
            put[length + 1], put[length + 2] = key, value
            length = length + 2
            if not found[i + 1] then
                made[#made + 1] = '0'
                made[#made + 1] = sub(key, prefix + 1)
            end
        else
            gone[#gone + 1] = sub(key, prefix + 1)
            gone_keys[#gone_keys + 1] = key
            load_floors()
            if refused(floors) then return {'E', floors.err} end
            raised = raised or {}
            local kind = place(i)
            local floor = raised[kind] or floor_of(i)
            raised[kind] = higher(sub(floor, 1, 20), sub(value, 2, 21))
                .. higher(sub(floor, 21, 41), sub(value, 22, 42))
        end
    end
    local unlisted
    if partitions and (0 < #made or raised) then
        local listed = pcall('ZSCORE', partitions, ARGV[a + 3])
        if refused(listed) then return {'E', listed.err} end
        unlisted = not listed
    end

    -- Past here it succeeds, but for the first write.
    local write = pcall
    if 0 < #gone then
        -- First: what frees memory is not refused for the lack of it.
        local reply = write('ZREM', index, unpack(gone))
        if refused(reply) then return {'E', reply.err} end
        write = call
        write('DEL', unpack(gone_keys))
    end
    if 0 < #made then
        local reply = write('ZADD', index, unpack(made))
        if refused(reply) then return {'E', reply.err} end
        write = call
    end
    if 0 < length then
        local reply = write('MSET', unpack(put))
        if refused(reply) then return {'E', reply.err} end
    end
    if raised then
        local fields = {}
        for kind, floor in pairs(raised) do
            fields[#fields + 1] = ARGV[first_kind + kind]
            fields[#fields + 1] = floor
        end
        call('HSET', shelf, unpack(fields))
    end
    if unlisted then call('ZADD', partitions, '0', ARGV[a + 3]) end
    call('SET', id, time, 'PX', remember)
    return {'C', time}
end

local results = {}
local k, a = partitions and 2 or 1, 5
for c = 1, tonumber(ARGV[4]) do
    results[c] = commit(k, a)
    local head = ARGV[a]
    k = k + 3 + number_in(head, 1)
    a = a + FIXED + number_in(head, 2) + number_in(head, 3)
end
return results
