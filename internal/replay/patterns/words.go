package patterns

import "regexp"

// What is looked for in a normal form: words in lower case with one blank between them.
var (
	userLock  = regexp.MustCompile(`(?:^|[^\w.])get_lock\(`)
	tableLock = regexp.MustCompile(`^lock tables? `)
	localFile = regexp.MustCompile(`^load (?:data|xml) (?:low_priority |concurrent )?local `)
	makesTemp = regexp.MustCompile(`^create (?:or replace )?temporary table `)
	dropsTemp = regexp.MustCompile(`^drop (?:temporary )?table `)
)

// oldWords are statements that clients of an age send, or that name what newer servers have not.
var oldWords = regexp.MustCompile(`@@(?:session\.|global\.)?(?:tx_isolation|tx_read_only|query_cache_\w+|old_alter_table|storage_engine|have_innodb|old_passwords)\b|` +
	`^set (?:session |global |@@session\.|@@)?(?:tx_isolation|storage_engine|old_passwords|query_cache_type|old_alter_table)\b|` +
	`^set option |\bsql_cache\b|\btype *= *(?:innodb|myisam)\b|^show innodb status|^show (?:master|slave) |^set names (?:utf8|utf8mb3)\b`)

// oldComments are those that a client library writes into its first statement.
var oldComments = regexp.MustCompile(`mysql-connector-java-[1-5]\.|mariadb-java-client-1\.|MySQL Connector/ODBC 3\.|mysqlnd 5\.0`)
