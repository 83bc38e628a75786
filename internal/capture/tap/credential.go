package tap

import "bytes"

// suspects are words, or parts of them, without which no text holds a credential of a server, each under its last letter.
var suspects = [256][]string{
	'W': {"PASSW"},        // PASSWORD, PASSWD, MASTER_PASSWORD, …
	'F': {"IDENTIF"},      // IDENTIFIED BY, VIA, WITH
	'V': {"GLOBAL_PRIV"},  // where MariaDB keeps accounts
	'U': {"SST_AU"},       // wsrep_sst_auth
	'G': {"N_STRING"},     // authentication_string, where MySQL does
	'Y': {"CRY", "S_KEY"}, // keys of AES_ENCRYPT and the like; s3_access_key
	'C': {"SEC"},          // s3_secret_key
	'K': {"TOK"},          // tokens
	'/': {"://"},          // CONNECTION='mysql://user:password@…'
}

var isSuspect = func() (t [256]bool) {
	for c, words := range suspects {
		if len(words) > 0 {
			t[c] = true
			t[c|0x20] = true
		}
	}
	t['/'] = true
	return t
}()

// Credential reports whether a text holds, or may hold, a password of a server's account, a hash of one, or a key. It looks at words alone, wherever
// they stand, and rather drops a text too many; what applications keep in their own tables is none of it (masking is for that).
func Credential(text []byte) bool {
	for i, c := range text {
		if !isSuspect[c] {
			continue
		}
		if c >= 'a' && c <= 'z' {
			c &^= 0x20
		}
		for _, word := range suspects[c] {
			if ends(text[:i+1], word) {
				return judgeCredential(text)
			}
		}
	}
	return false
}

// judgeCredential looks closely at a text with a suspect.
func judgeCredential(text []byte) bool {
	upper := bytes.ToUpper(text)
	has := func(words ...string) bool {
		for _, w := range words {
			if !bytes.Contains(upper, []byte(w)) {
				return false
			}
		}
		return true
	}
	if has("IDENTIFIED") || has("AUTHENTICATION_STRING") || has("GLOBAL_PRIV") || has("SST_AUTH") || has("_ENCRYPT") || has("_DECRYPT") || calls(upper, "ENCRYPT") {
		return true
	}
	var data bool // what works on tables alone
	switch classify(text) {
	case read, write:
		data = true
	}
	switch firstWord(text) {
	case "SELECT", "WITH", "CALL", "EXPLAIN":
		data = true
	}
	if has("://") && has("CONNECTION") && !data {
		return true
	}
	if !data && (sets(upper, "SECRET") || sets(upper, "ACCESS_KEY") || sets(upper, "TOKEN")) {
		return true
	}
	if !has("PASSW") {
		return false
	}
	if !data || has("/*!") || has("/*M!") || has("MYSQL", "USER") || calls(upper, "PASSWORD") {
		return true
	}
	end := bytes.IndexByte(text, ';')
	return end >= 0 && len(bytes.TrimRight(text[end:], "; \t\r\n\x00")) > 0 // another statement follows, perhaps
}

// sets reports whether something is assigned to a name with that word in it, which is no user variable: those are the application's.
func sets(upper []byte, word string) bool {
	inName := func(c byte) bool {
		return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c == '.'
	}
	for at := 0; ; {
		i := bytes.Index(upper[at:], []byte(word))
		if i < 0 {
			return false
		}
		from, to := at+i, at+i+len(word)
		at = to
		for from > 0 && inName(upper[from-1]) {
			from--
		}
		for to < len(upper) && inName(upper[to]) {
			to++
		}
		if from > 0 && (upper[from-1] == '\'' || upper[from-1] == '"' || upper[from-1] == '@' && (from < 2 || upper[from-2] != '@')) {
			continue
		}
		if rest := bytes.TrimLeft(upper[to:], " `\t\r\n\f\v:"); len(rest) > 0 && rest[0] == '=' {
			return true
		}
	}
}

// calls reports whether a word, or one that ends with it, is followed by a bracket.
func calls(upper []byte, word string) bool {
	for {
		i := bytes.Index(upper, []byte(word))
		if i < 0 {
			return false
		}
		upper = upper[i+len(word):]
		if rest := bytes.TrimLeft(upper, " \t\r\n\f\v"); len(rest) > 0 && rest[0] == '(' {
			return true
		}
	}
}
