package engineio

// MaxSID is the length of the longest session id that is taken for one, in bytes. Those of Engine.IO itself have 20.
const MaxSID = 128

// validSID reports that s can be a session's id. Engine.IO makes them of letters, digits, - and _, but lets an
// application make its own: of what can be printed, all but quotes and separators is taken.
func validSID(s string) bool {
	if s == "" || len(s) > MaxSID {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f:
			return false
		case c == '"' || c == '\'' || c == '`' || c == '\\' || c == '%' || c == '&' || c == ',' || c == ';' || c == '<' || c == '>':
			return false
		}
	}
	return true
}
