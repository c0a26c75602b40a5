"""The grammar of RFC 9112, and of what it takes from RFC 9110 and RFC 3986, as regular expressions on octets.

Each says what is valid, for parser.py and targets.py. Refuses to know what anything means. Those that few requests need
are given uncompiled: the functions of `re` compile one when it is first asked for, and keep it.
"""
import re

# RFC 9110 5.6.2, 5.5 and RFC 9112 5. Possessive quantifiers: what was matched is never tried again. Not on groups:
# before Python 3.11.5 they kept what a failed repeat had taken. They need none: repeats begin as nothing else does.
_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TOKEN = _TCHAR + rb"++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
_FIELD_LINE = _TOKEN + rb":" + _VALUE
# RFC 3986 3.3 and 3.4, and what browsers send unencoded besides: []^`{|} in a path, these and \ and % in a query.
_PLAIN = rb"[!$&-;=@-\[\]-~]*+"
_PATH = rb"/%b(?:%%[0-9A-Fa-f]{2}%b)*" % (_PLAIN, _PLAIN)
_QUERY = rb"(?:\?[!$%&-;=?-~]*+)?"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_REG_NAME = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]++|%[0-9A-Fa-f]{2})+"
_IP_LITERAL = rb"\[(?:[0-9A-Fa-f:.]++|[vV][0-9A-Fa-f]++\.[A-Za-z0-9\-._~!$&'()*+,;=:]++)\]"  # RFC 3986 3.2.2

LONGEST_METHOD = 64  # octets; longer ones are known to nobody

_METHOD = rb"(?!CONNECT )%b{1,%d}+" % (_TCHAR, LONGEST_METHOD)
EMPTY_LINES = re.compile(rb"(?:\r\n)*")
_REQUEST_LINE = rb"(%b) (%b%b) HTTP/1\.([0-9])" % (_METHOD, _PATH, _QUERY)
REQUEST_LINE = re.compile(_REQUEST_LINE)
REQUEST_HEAD = re.compile(rb"%b((?:\r\n%b)*)\r\n\r\n" % (_REQUEST_LINE, _FIELD_LINE))
FIELD_SECTION = re.compile(rb"(?:\r\n%b)*" % _FIELD_LINE)
CONTROL_LINE = re.compile(  # the look-ahead, being case-sensitive, is quick to pass over all others
    rb"\n(?=[CEHTceht])((?i:host|connection|content-length|transfer-encoding|expect):[^\r]*+)")
ORIGIN_FORM = _PATH + _QUERY
AUTHORITY = re.compile(rb"(%b|%b)(?::([0-9]*+))?" % (_REG_NAME, _IP_LITERAL))
ABSOLUTE_FORM = rb"(?i:https?)://([^/?]++)(%b)?(%b)" % (_PATH, _QUERY)
VERSION = rb"HTTP/([0-9])\.([0-9])"
STATUS_LINE = rb"HTTP/1\.([0-9]) ([1-5][0-9]{2}) (%b)" % _VALUE
_CODING = rb"%b(?:[ \t]*+;[ \t]*+%b[ \t]*+=[ \t]*+(?:%b|%b))*" % (_TOKEN, _TOKEN, _TOKEN, _QUOTED)
CODINGS_FOR_CHUNKED = rb"(?i)(?:%b[ \t]*+,[ \t]*+)+chunked" % _CODING
_CHUNK_EXT = rb"(?:[ \t]*+;[ \t]*+%b(?:[ \t]*+=[ \t]*+(?:%b|%b))?)*" % (_TOKEN, _TOKEN, _QUOTED)
CHUNK_LINE = re.compile(rb"(?=[0-9A-Fa-f])0*+([0-9A-Fa-f]*+)(%b)\r\n" % _CHUNK_EXT)
BARE_LF = re.compile(rb"(?<!\r)\n")
NAME = re.compile(_TOKEN)
IS_NAME = re.compile(_TOKEN.decode("latin-1"))
IS_VALUE = re.compile(_VALUE.decode("latin-1"))
