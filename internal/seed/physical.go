package seed

import "context"

func (j *job) physical(ctx context.Context) error { return nil }
