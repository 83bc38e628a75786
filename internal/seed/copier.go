package seed

import (
	"context"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Copier makes a physical copy: it reaches the files of the target, and of a replica of the old cell. The process driver
// gives it for servers on this machine, an exec plugin for any others.
type Copier interface {
	// Offers tells whether it reaches both servers, or why it does not.
	Offers(ctx context.Context, r CopyRequest) (ok bool, why string, err error)
	// Copy replaces the target's data by a copy of the source's, and leaves the target running: read-only, replicating from
	// nowhere, event scheduler off, upgraded without a logged transaction. It answers with the copy's exact GTID
	// position. The source goes on; its primary's binary logs are held by the caller. Run again after a kill it begins anew.
	Copy(ctx context.Context, r CopyRequest, progress func(done, total int64)) (position string, err error)
}

// CopyRequest says what is copied where.
type CopyRequest struct {
	Cluster fleet.ClusterRef
	Source  fleet.Node // a replica, or the one server of its cell
	Target  fleet.Node // fresh, read-only
	ToCell  string
	Mark    string // ownership mark that the target carries, and has to carry afterwards
	Term    int64
	Bytes   int64 // of tables and indexes, the source's estimate
}

func (j *job) copyRequest() CopyRequest {
	return CopyRequest{Cluster: j.r.Cluster.Ref(), Source: j.source.Node, Target: j.r.Node, ToCell: j.r.ToCell, Mark: j.owner, Term: j.r.Term, Bytes: j.size}
}
