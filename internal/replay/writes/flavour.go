package writes

import "github.com/windlass-db/windlass/internal/datacheck/node"

// flavour is what servers of a product call differently.
type flavour struct {
	replicas string   // lists who replicates from it
	position string   // what it has, as a GTID position
	semisync []string // variables that are ON if it waits for replicas
	detach   string   // how a person makes it a clone that follows nobody
}

func flavourOf(c *node.Conn) flavour {
	if c.MariaDB {
		return flavour{
			replicas: "SHOW SLAVE HOSTS", position: "SELECT @@global.gtid_current_pos", semisync: []string{"rpl_semi_sync_master_enabled"}, detach: "STOP SLAVE; RESET SLAVE ALL",
		}
	}
	return flavour{
		replicas: "SHOW REPLICAS", position: "SELECT REPLACE(@@global.gtid_executed, '\\n', '')", semisync: []string{"rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"}, detach: "STOP REPLICA; RESET REPLICA ALL",
	}
}
