package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// Capturing asks the gateway. What it kept and dropped is in the detail.
func (d *Driver) Capturing(ctx context.Context, r bluegreen.ReplayRequest) (bluegreen.Capture, error) {
	s, name, err := d.status(ctx, r)
	switch {
	case errors.Is(err, adminapi.ErrNoCapture):
		return bluegreen.Capture{Detail: name + " has no capture in its file"}, nil
	case err != nil:
		return bluegreen.Capture{}, err
	}
	is := bluegreen.Capture{On: s.On, Detail: detailOf(s)}
	if s.By != r.By {
		is.Others = cmp.Or(s.By, "an operator, or the gateway's file,")
	}
	return is, nil
}

func (d *Driver) status(ctx context.Context, r bluegreen.ReplayRequest) (adminapi.CaptureStatus, string, error) {
	g, err := gateway(r)
	if err != nil {
		return adminapi.CaptureStatus{}, "", err
	}
	c, err := d.cfg.Gateway(g)
	if err != nil {
		return adminapi.CaptureStatus{}, g.Name, err
	}
	s, err := c.Capture(ctx)
	if err != nil {
		return s, g.Name, fmt.Errorf("gateway %s: %w", g.Name, err)
	}
	return s, g.Name, nil
}

// detailOf is one line.
func detailOf(s adminapi.CaptureStatus) string {
	if !s.On {
		return "it is switched off"
	}
	text := fmt.Sprintf("%d statements kept", s.Kept)
	for _, reason := range slices.Sorted(maps.Keys(s.Dropped)) {
		if n := s.Dropped[reason]; n > 0 {
			text += fmt.Sprintf(", %d dropped (%s)", n, reason)
		}
	}
	if s.Error != "" {
		text += "; " + s.Error
	}
	return text
}

// StartCapture switches it on under the term, for reads and writes: those are not replayed here, but both versions are asked for their plans. One that is on with
// other settings is somebody else's, and is used as it is if it is fit.
func (d *Driver) StartCapture(ctx context.Context, r bluegreen.ReplayRequest) error {
	g, err := gateway(r)
	if err != nil {
		return err
	}
	c, err := d.cfg.Gateway(g)
	if err != nil {
		return err
	}
	if _, err := c.StartCapture(ctx, adminapi.CaptureRequest{Term: r.Term, By: r.By, Statements: "all"}); err != nil && !errors.Is(err, adminapi.ErrCapturing) {
		return fmt.Errorf("gateway %s: %w", g.Name, err)
	}
	return nil
}

// EndCapture switches it off under the term, and returns when all that was kept is in files. What somebody else began is left on.
func (d *Driver) EndCapture(ctx context.Context, r bluegreen.ReplayRequest) error {
	g, err := gateway(r)
	if err != nil {
		return err
	}
	c, err := d.cfg.Gateway(g)
	if err != nil {
		return err
	}
	_, err = c.EndCapture(ctx, adminapi.CaptureStopRequest{Term: r.Term, By: r.By})
	if err != nil && !errors.Is(err, adminapi.ErrNoCapture) && !errors.Is(err, adminapi.ErrOtherCapture) {
		return fmt.Errorf("gateway %s: %w", g.Name, err)
	}
	return nil
}

// unfit says why what the gateway captures can't be replayed; "" if it can.
func unfit(s adminapi.CaptureStatus, sealedFits bool, leastPercent int) (what, remedy string) {
	switch {
	case s.On && s.Sample > 0 && s.Sample*100 < float64(leastPercent):
		return fmt.Sprintf("it keeps %g %% of each kind of statement, and the campaign wants %d %%", s.Sample*100, leastPercent), "end that capture (windlass capture stop), raise the sample in the gateway's file, or lower replay.min_sample in the campaign's"
	case s.Masked:
		return "it replaces the values by hashes: masked statements can't be replayed", "take mask_key_file out of the gateway's file"
	case s.Sealed && !sealedFits:
		return "its files are encrypted, and the supervisor has no key", "name the key in replay.key_file of the supervisor's file"
	case s.Error != "":
		return s.Error, "mend it: " + strings.TrimSpace(s.Folder)
	}
	return "", ""
}
