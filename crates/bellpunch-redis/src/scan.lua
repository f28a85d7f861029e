-- A page of records, looked at in order and at one instant.
--
-- KEYS: a key that nothing is ever stored at, the partition's index, the partition's floors.
-- ARGV: [1] what comes before a member in its record's key  [2] least member  [3] greatest member
--   [4] records at most  [5] bytes after which the page ends  [6] members looked at, at most
--   [7] '1': with what was deleted  [8] due by, or ''  [9] '1': with floors
--
-- Answers: floors; then how far it got, or '' if that is all; then members and records. A record
-- without content is followed by nothing: its floor is among those told where it matters.
local CONTENT, HEADER = 86, 72
local byte, sub = string.byte, string.sub
local CHUNK = 128

redis.call('DEL', KEYS[1])
local limit, bytes_max, visits = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local floors = redis.call('HGETALL', KEYS[3])
local page, resume, seen, bytes = {}, '', 0, 0
local from, last = ARGV[2], nil
local more = true
while more do
    local members = redis.call('ZRANGEBYLEX', KEYS[2], from, ARGV[3], 'LIMIT', 0, CHUNK)
    more = #members == CHUNK
    if 0 < #members then
        local keys = {}
        for i = 1, #members do keys[i] = ARGV[1] .. members[i] end
        local found = redis.call('MGET', unpack(keys))
        for i = 1, #members do
            if #page == 2 * limit or seen == visits or bytes_max <= bytes then
                return {floors, last or '', page}
            end
            local raw = found[i] or ''
            local shown = ARGV[7] == '1' or byte(raw, 64) == CONTENT
            if ARGV[8] ~= '' then
                local due = sub(raw, 43, 63)
                shown = shown and due ~= '' and byte(due) ~= 45 and due <= ARGV[8]
            end
            -- What is damaged is shown: the reader refuses it.
            if shown or #raw < HEADER then
                page[#page + 1] = members[i]
                page[#page + 1] = raw
                bytes = bytes + #raw
            end
            last, seen = members[i], seen + 1
        end
        from = '(' .. members[#members]
    end
end
return {floors, '', page}
