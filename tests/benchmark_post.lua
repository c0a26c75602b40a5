-- A JSON document of about 1 KB.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"values": ["' .. string.rep("0123456789", 98) .. '"]}'
