package writes

import "github.com/windlass-db/windlass/internal/datacheck/node"

// flavour is what servers of a product call differently.
type flavour struct {
	replicas string   // lists who replicates from it
	position string   // what it has, as a GTID position
	semisync []string // variables that are ON if it waits for replicas
	detach   string   // how a person makes it a clone that follows nobody
	hash     func(expr string) string
	parsed   bool // JSON is a document, not text
}

func flavourOf(c *node.Conn) flavour {
	if c.MariaDB {
		return flavour{
			replicas: "SHOW SLAVE HOSTS", position: "SELECT @@global.gtid_current_pos", semisync: []string{"rpl_semi_sync_master_enabled"}, detach: "STOP SLAVE; RESET SLAVE ALL",
			hash: func(expr string) string { return "MD5(" + expr + ")" },
		}
	}
	return flavour{
		replicas: "SHOW REPLICAS", position: "SELECT REPLACE(@@global.gtid_executed, '\\n', '')", semisync: []string{"rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"}, detach: "STOP REPLICA; RESET REPLICA ALL",
		hash: func(expr string) string { return "SHA2(" + expr + ", 256)" }, parsed: true, // its MD5 is in a component that may not be there
	}
}
