-- Heads that never repeat: what browsers send, seven fields, of which some differ each time.
local n = 0
local head = "GET /page/%d?from=%d HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" ..
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n" ..
  "Accept-Encoding: gzip, deflate, br\r\nCookie: session=%d; theme=dark\r\nReferer: http://localhost/page/%d\r\n\r\n"
request = function()
  n = n + 1
  return string.format(head, n, n, n, n - 1)
end
