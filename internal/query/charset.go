package query

// longestCharset is how long a character set's name is at the most, with the _ before it.
const longestCharset = 1 + len("armscii8")

// isCharset reports whether a word, in any case, is the name of a character set, and so with a _ before it says of which one the text behind it is. Any other such word is a name, and a text behind it
// an alias. The names are those of MariaDB 11.8 and MySQL 9.7.
func isCharset(w []byte) bool {
	var folded [longestCharset]byte
	switch string(lower(folded[:0], w)) {
	case "armscii8", "ascii", "big5", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "cp932", "dec8", "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "geostd8",
		"greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620", "ucs2", "ujis", "utf16", "utf16le", "utf32",
		"utf8", "utf8mb3", "utf8mb4":
		return true
	}
	return false
}
