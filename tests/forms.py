"""Forms as clients really send them: boundary, octets, and name, filename and content of each part."""

CHROMIUM = (b"----WebKitFormBoundaryBv2fJ3wYAbsVXMkd", (
    b"------WebKitFormBoundaryBv2fJ3wYAbsVXMkd\r\n"
    b'Content-Disposition: form-data; name="files"; filename="a%22b \xc3\xbc.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\none\n\r\n"
    b"------WebKitFormBoundaryBv2fJ3wYAbsVXMkd\r\n"
    b'Content-Disposition: form-data; name="files"; filename=""\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n\r\n"
    b"------WebKitFormBoundaryBv2fJ3wYAbsVXMkd\r\n"
    b'Content-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    b"------WebKitFormBoundaryBv2fJ3wYAbsVXMkd--\r\n"),
    [("files", 'a"b \u00fc.txt', b"one\n"), ("files", "", b""), ("note", None, b"hello")])

CURL = (b"------------------------d74496d66958873e", (
    b"--------------------------d74496d66958873e\r\n"
    b'Content-Disposition: form-data; name="f"; filename="report.pdf"\r\n'
    b"Content-Type: application/pdf\r\n\r\n%PDF\r\n\r\n"
    b"--------------------------d74496d66958873e\r\n"
    b'Content-Disposition: form-data; name="x"\r\n\r\n\r\n'
    b"--------------------------d74496d66958873e--\r\n"),
    [("f", "report.pdf", b"%PDF\r\n"), ("x", None, b"")])

FIREFOX = (b"---------------------------9051914041544843365972754266", (
    b"-----------------------------9051914041544843365972754266\r\n"
    b'Content-Disposition: form-data; name="files"; filename="a\\.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\na\r\n"
    b"-----------------------------9051914041544843365972754266--\r\n"),
    [("files", "a\\.txt", b"a")])

TRICKY = (b"-x-", (
    b"---x-\r\nContent-Disposition: form-data; name=a; filename=a\r\n\r\n\r\n---x\r\n--\r\r\n\r\n---x-\r\n"
    b"Content-Disposition: form-data; name=b\r\n\r\n----x-\r\n---x-\r\n"
    b"Content-Disposition: form-data; name=c; filename=c\r\n\r\n---x---\r\n"),
    [("a", "a", b"\r\n---x\r\n--\r\r\n"), ("b", None, b"----x-"), ("c", "c", b"")])
