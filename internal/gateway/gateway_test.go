package gateway

import "testing"

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
		{"Terms", testTerms},
		{"CallerGoesAway", testCallerGoesAway},
		{"StateMoves", testStateMoves},
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
		{"ClientsSayTheSame", testClientsSayTheSame},
		{"MariadbClientMoves", testMariadbClientMoves},
		{"ClientsUnderSwitch", testClientsUnderSwitch},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, c) })
	}
}
