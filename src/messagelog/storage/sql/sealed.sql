-- What a rotation of secret keys asks of each column that holds sealed values: {table} and {column} are its names,
-- {key} what its values are bound to, {order} the primary key in the order of its index, {start} a place in that order
-- as parameters, and {row} the row that is there.
-- A value begins with one byte for its format and four for the id of the key that it is sealed under.

-- name: find_sealed_{table}
-- The values under other keys than one, after a row.
SELECT {key}, {order}, "{column}"
FROM "{table}"
WHERE ({order}) > ({start}) AND length("{column}") > 0 AND substr("{column}", 2, 4) <> :key_id
ORDER BY {order}
LIMIT :limit

-- name: reseal_{table}
-- The same text under another key; nothing if it was changed since it was read.
UPDATE "{table}"
SET "{column}" = :sealed
WHERE {row} AND "{column}" = :before

-- name: count_sealed_{table}
-- How many values there are under each key, for people.
SELECT substr("{column}", 2, 4), COUNT(*)
FROM "{table}"
WHERE length("{column}") > 0
GROUP BY 1
