package gateway

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// writeMetrics writes the status in Prometheus' text format. There is no registry: the numbers are the status's own.
func writeMetrics(w io.Writer, st adminapi.Status) {
	one := func(name, kind, help string, v any) {
		fmt.Fprintf(w, "# HELP windlass_gateway_%[1]s %[2]s\n# TYPE windlass_gateway_%[1]s %[3]s\nwindlass_gateway_%[1]s %[4]v\n", name, help, kind, v)
	}
	one("term", "gauge", "Highest term seen.", st.Term)
	endpoints := []struct {
		name string
		st   *adminapi.EndpointStatus
	}{{"writer", &st.Writer}, {"read-only", st.ReadOnly}}
	for _, m := range []struct {
		name, help string
		value      func(*adminapi.EndpointStatus) int
	}{
		{"sessions", "Client connections.", func(e *adminapi.EndpointStatus) int { return e.Sessions }},
		{"sessions_in_transaction", "Client connections in a transaction.", func(e *adminapi.EndpointStatus) int { return e.InTransaction }},
		{"commands_waiting", "Commands that wait for a hold or a primary.", func(e *adminapi.EndpointStatus) int { return e.Waiting }},
		{"sessions_elsewhere", "Client connections on another server than the route's.", func(e *adminapi.EndpointStatus) int { return e.Elsewhere }},
		{"open", "Whether the endpoint takes new transactions.", func(e *adminapi.EndpointStatus) int { return b2i(e.Route == adminapi.RouteOpen) }},
	} {
		fmt.Fprintf(w, "# HELP windlass_gateway_%[1]s %[2]s\n# TYPE windlass_gateway_%[1]s gauge\n", m.name, m.help)
		for _, e := range endpoints {
			if e.st != nil {
				fmt.Fprintf(w, "windlass_gateway_%s{endpoint=%q} %d\n", m.name, e.name, m.value(e.st))
			}
		}
	}
	fmt.Fprint(w, "# HELP windlass_gateway_server_role Role that a server said it has.\n# TYPE windlass_gateway_server_role gauge\n")
	for _, s := range st.Servers {
		fmt.Fprintf(w, "windlass_gateway_server_role{server=%q,role=%q,local=\"%t\"} 1\n", s.Address, s.Role, s.Local)
	}
	fmt.Fprint(w, "# HELP windlass_gateway_held_seconds How long the gate has been closed by a switch.\n# TYPE windlass_gateway_held_seconds gauge\n")
	fmt.Fprintf(w, "windlass_gateway_held_seconds %g\n", float64(st.Switch.HeldMS)/1000)
	c := st.Counts
	for _, m := range []struct {
		name, help string
		v          uint64
	}{
		{"connections_total", "Connections accepted.", c.Connections},
		{"logins_refused_total", "Logins refused.", c.LoginsRefused},
		{"commands_total", "Commands served.", c.Commands},
		{"moves_total", "Sessions moved to another server.", c.Moves},
		{"moves_failed_total", "Sessions closed because they could not move.", c.MovesFailed},
		{"reheld_total", "Statements refused as read-only and sent to the next primary.", c.Reheld},
		{"refused_total", "Commands refused without a primary.", c.Refused},
		{"unknown_total", "Commands whose reply was lost.", c.Unknown},
		{"rolled_back_total", "Transactions ended by a switch.", c.RolledBack},
		{"forced_closes_total", "Connections closed by request.", c.ForcedCloses},
		{"holds_total", "Holds begun.", c.Holds},
		{"holds_expired_total", "Holds that ended by their TTL.", c.HoldsExpired},
	} {
		one(m.name, "counter", m.help, m.v)
	}
	if st.Capture != nil {
		captureMetrics(w, one, *st.Capture)
	}
}

// captureMetrics are those of the capture that is on, or was on last. They begin anew with each one.
func captureMetrics(w io.Writer, one func(name, kind, help string, v any), c adminapi.CaptureStatus) {
	one("capture_on", "gauge", "Whether statements are captured.", b2i(c.On))
	one("capture_failing", "gauge", "Whether the last write of the capture failed, or it could not be switched on.", b2i(c.Error != ""))
	for _, m := range []struct {
		name, help string
		v          uint64
	}{
		{"capture_statements_total", "Statements that the capture saw.", c.Statements},
		{"capture_kept_total", "Statements in its files.", c.Kept},
		{"capture_events_total", "Events written, of every kind.", c.Events},
		{"capture_files_total", "Files begun.", c.Files},
		{"capture_bytes_total", "Bytes written.", c.Bytes},
	} {
		one(m.name, "counter", m.help, m.v)
	}
	fmt.Fprint(w, "# HELP windlass_gateway_capture_dropped_total Statements that were not kept, by reason; end counts answers alone.\n# TYPE windlass_gateway_capture_dropped_total counter\n")
	for _, reason := range slices.Sorted(maps.Keys(c.Dropped)) {
		fmt.Fprintf(w, "windlass_gateway_capture_dropped_total{reason=%q} %d\n", reason, c.Dropped[reason])
	}
	one("capture_waiting", "gauge", "Statements in memory.", c.Waiting)
	one("capture_lag_seconds", "gauge", "Age of the oldest event that is not written.", float64(c.LagMS)/1000)
	one("capture_spool_bytes", "gauge", "What the gateway's files take in the spool.", c.SpoolBytes)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
