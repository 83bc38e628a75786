package gateway

import (
	"testing"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// TestOnRealServers runs everything that needs a cluster of two versions, one after the other on the same one.
func TestOnRealServers(t *testing.T) {
	c := newCluster(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *cluster)
	}{
		{"SwitchUnderLoad", testSwitchUnderLoad},
		{"HoldExpires", testHoldExpires},
		{"NoneOrTwoPrimaries", testNoneOrTwoPrimaries},
		{"ReheldByItself", testReheldByItself},
		{"ReheldBudget", testReheldBudget},
		{"HeldMeansQuiet", testHeldMeansQuiet},
		{"CommitMeetsReadOnly", testCommitMeetsReadOnly},
		{"NoDeadlock", testNoDeadlock},
		{"FailOpenTransactions", testFailOpenTransactions},
		{"ReadersLinger", testReadersLinger},
		{"BegunTransactionsMove", testBegunTransactionsMove},
		{"OldListOfTransactions", testOldListOfTransactions},
		{"Terms", testTerms},
		{"CallerGoesAway", testCallerGoesAway},
		{"StateMoves", testStateMoves},
		{"NextTransaction", testNextTransaction},
		{"Diagnostics", testDiagnostics},
		{"PreparedStatements", testPreparedStatements},
		{"Unmovable", testUnmovable},
		{"PrepareAhead", testPrepareAhead},
		{"PasswordRotation", testPasswordRotation},
		{"DoesNotFit", testDoesNotFit},
		{"FrozenGreeting", testFrozenGreeting},
		{"SessionTrack", testSessionTrack},
		{"ChangeUser", testChangeUser},
		{"Kill", testKill},
		{"RefusedCommands", testRefusedCommands},
		{"Framing", testFraming},
		{"Movable", testMovable},
		{"OldGatewayForwards", testOldGatewayForwards},
		{"ReadOnlyEndpoint", testReadOnlyEndpoint},
		{"TLSAndMethods", testTLSAndMethods},
		{"ProxyProtocol", testProxyProtocol},
		{"ReplaceServers", testReplaceServers},
		{"Stop", testStop},
		{"Process", testProcess},
		{"Capture", testCapture},
		{"CaptureUnderLoad", testCaptureUnderLoad},
		{"CaptureWithoutRoom", testCaptureWithoutRoom},
		{"ClientsSayTheSame", testClientsSayTheSame},
		{"MariadbClientMoves", testMariadbClientMoves},
		{"ClientsUnderSwitch", testClientsUnderSwitch},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, c) })
		c.nothingLeft(t, test.name)
	}
}

// nothingLeft waits until the servers have no connection and no transaction of a client any more: gateways that have stopped
// leave none behind.
func (c *cluster) nothingLeft(t *testing.T, after string) {
	t.Helper()
	for _, s := range []*processtest.Server{c.primary, c.replica} {
		processtest.Until(t, patience, "nothing is left of "+after+" on "+s.Name, func() bool {
			rows, err := s.Admin.Query("SELECT P.ID, P.USER, P.COMMAND, P.TIME, P.INFO, T.trx_id FROM information_schema.PROCESSLIST P LEFT JOIN information_schema.INNODB_TRX T ON T.trx_mysql_thread_id = P.ID WHERE P.USER IN ('app', 'second', 'later', 'monitor')")
			if err != nil {
				return false
			}
			left := dump(rows)
			if left == "" {
				return true
			}
			t.Logf("%s: %s", s.Name, left)
			return false
		})
	}
}
