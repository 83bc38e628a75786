package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/secret"
)

// captureTarget is which gateways a verb is for: those of a cluster that the server knows, or some by their addresses. The server can't reach a gateway: the
// command goes there itself, with the token of their admin API.
type captureTarget struct {
	urls  []string
	token string
}

func (t *captureTarget) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&t.urls, "gateway", nil, "`URL` of a gateway's admin API, in the place of a cluster; may be given again")
	cmd.Flags().StringVar(&t.token, "gateway-token-file", os.Getenv("WINDLASS_GATEWAY_TOKEN_FILE"), "`FILE` of mode 0600 with the token of the gateways' admin API (WINDLASS_GATEWAY_TOKEN_FILE)")
}

// captureControlCommands are the verbs that switch the gateways' capture.
func captureControlCommands(o *Options) []*cobra.Command {
	return []*cobra.Command{captureStartCommand(o), captureStopCommand(o), captureStatusCommand(o)}
}

const captureScope = "It is for every gateway of ENV/CLUSTER, or for those that --gateway names. It goes to the gateways' admin API itself, which the server can't\nreach, with the token that they have."

func captureStartCommand(o *Options) *cobra.Command {
	var t captureTarget
	var r adminapi.CaptureRequest
	cmd := &cobra.Command{
		Use: "start [ENV/CLUSTER]", Short: "Begin to capture statements in a cluster's gateways", Args: atMostOne,
		Long:    "Begins to keep what clients say, and what servers answer, while clients work. Where the files go, whether they are sealed or masked, and how much\nthey may take is in each gateway's file.\n" + captureScope,
		Example: "  windlass capture start prod/orders --gateway-token-file gateway-token\n  windlass capture start --gateway http://10.0.1.9:4101 --gateway-token-file gateway-token --statements all --sample 0.1",
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.each(cmd, o, args, func(ctx context.Context, c *adminapi.Client) (adminapi.CaptureStatus, error) {
				return c.StartCapture(ctx, r)
			})
		},
	}
	t.flags(cmd)
	cmd.Flags().StringVar(&r.Statements, "statements", "", "what is kept: selects, or all; absent: as the gateway's file says")
	cmd.Flags().Float64Var(&r.Sample, "sample", 0, "how much of each kind of statement is kept, up to 1; absent: as the gateway's file says")
	return cmd
}

func captureStopCommand(o *Options) *cobra.Command {
	var t captureTarget
	cmd := &cobra.Command{
		Use: "stop [ENV/CLUSTER]", Short: "End the capture in a cluster's gateways", Args: atMostOne,
		Long:    "Ends it, and says how it went when all that was kept is in files.\n" + captureScope,
		Example: "  windlass capture stop prod/orders --gateway-token-file gateway-token",
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.each(cmd, o, args, func(ctx context.Context, c *adminapi.Client) (adminapi.CaptureStatus, error) {
				return c.StopCapture(ctx)
			})
		},
	}
	t.flags(cmd)
	return cmd
}

func captureStatusCommand(o *Options) *cobra.Command {
	var t captureTarget
	cmd := &cobra.Command{
		Use: "status [ENV/CLUSTER]", Short: "Say how the capture goes in a cluster's gateways", Args: atMostOne,
		Long:    "Says whether it is on, how many statements it saw, kept and dropped, and why.\n" + captureScope,
		Example: "  windlass capture status prod/orders --gateway-token-file gateway-token",
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.each(cmd, o, args, func(ctx context.Context, c *adminapi.Client) (adminapi.CaptureStatus, error) { return c.Capture(ctx) })
		},
	}
	t.flags(cmd)
	return cmd
}

// captureAnswer is what one gateway said.
type captureAnswer struct {
	Gateway string                  `json:"gateway"`
	URL     string                  `json:"url"`
	Capture *adminapi.CaptureStatus `json:"capture,omitempty"`
	Error   string                  `json:"error,omitempty"`
	err     error
}

// captureWait bounds what one gateway takes to answer.
const captureWait = 15 * time.Second

// each asks every gateway, also if one of them fails, and prints what they said.
func (t *captureTarget) each(cmd *cobra.Command, o *Options, args []string, do func(context.Context, *adminapi.Client) (adminapi.CaptureStatus, error)) error {
	answers, err := t.gateways(cmd, o, args)
	if err != nil {
		return err
	}
	if t.token == "" {
		return Failf(ExitUsage, "name the file with --gateway-token-file, or in WINDLASS_GATEWAY_TOKEN_FILE", "the token of the gateways' admin API is needed")
	}
	token, err := secret.ReadFile(t.token)
	if err != nil {
		var open *secret.OpenError
		if errors.As(err, &open) {
			return Failf(ExitUsage, open.Hint, "read the gateways' token: %w", err)
		}
		return Failf(ExitUsage, "name the file with --gateway-token-file, or in WINDLASS_GATEWAY_TOKEN_FILE", "read the gateways' token: %w", err)
	}
	failed := 0
	var first error
	for i := range answers {
		a := &answers[i]
		ctx, cancel := context.WithTimeout(cmd.Context(), captureWait)
		st, err := do(ctx, adminapi.NewClient(a.URL, token, nil))
		cancel()
		if err != nil {
			failed++
			a.Error, a.err = err.Error(), err
			first = errors.Join(first, err)
			continue
		}
		a.Capture = &st
	}
	if err := o.printer(cmd).value(map[string]any{"gateways": answers}, func(w io.Writer) error { return printCaptures(w, answers) }); err != nil {
		return err
	}
	if failed > 0 {
		return Failf(ExitError, captureHint(first), "%d of %d gateways failed: %w", failed, len(answers), first)
	}
	return nil
}

func captureHint(err error) string {
	switch {
	case errors.Is(err, adminapi.ErrUnauthorized):
		return "the token is that of admin.token_file in the gateway's file"
	case errors.Is(err, adminapi.ErrNoCapture):
		return "add `capture: {folder: …}` to the gateway's file; docs/capture.md shows it"
	case errors.Is(err, adminapi.ErrCapturing):
		return "end it with `windlass capture stop`, and start it again"
	}
	return ""
}

// gateways lists which are meant.
func (t *captureTarget) gateways(cmd *cobra.Command, o *Options, args []string) ([]captureAnswer, error) {
	var list []captureAnswer
	for _, url := range t.urls {
		list = append(list, captureAnswer{Gateway: strings.TrimPrefix(strings.TrimPrefix(url, "http://"), "https://"), URL: url})
	}
	switch {
	case len(args) == 0 && len(list) == 0:
		return nil, Failf(ExitUsage, "usage: "+cmd.UseLine(), "name a cluster as ENV/CLUSTER, or gateways with --gateway URL")
	case len(args) == 0:
		return list, nil
	case len(list) > 0:
		return nil, Failf(ExitUsage, "leave one of them out", "a cluster and --gateway can't be given together")
	}
	ref, err := parseRef(args[0])
	if err != nil {
		return nil, err
	}
	c, err := o.connect()
	if err != nil {
		return nil, err
	}
	fleets, err := c.Fleets(cmd.Context())
	if err != nil {
		return nil, err
	}
	for _, f := range fleets {
		cluster, err := f.FindCluster(ref)
		if err != nil {
			continue
		}
		for _, cell := range cluster.Cells {
			if cell.Gateway != nil {
				list = append(list, captureAnswer{Gateway: cell.Gateway.Name, URL: cell.Gateway.Admin})
			}
		}
		if len(list) == 0 {
			return nil, Failf(ExitError, "statements are captured in gateways; a cell names its own in the fleet's file", "cluster %s has no gateway", ref)
		}
		return list, nil
	}
	return nil, unknownFleetCluster(fleets, ref)
}

func unknownFleetCluster(fleets []fleet.Fleet, ref fleet.ClusterRef) error {
	var refs []string
	for _, f := range fleets {
		for _, e := range f.Environments {
			for _, c := range e.Clusters {
				refs = append(refs, fleet.ClusterRef{Env: e.Name, Name: c.Name}.String())
			}
		}
	}
	slices.Sort(refs)
	return Failf(ExitUsage, "there are: "+strings.Join(refs, ", "), "there is no cluster %s", ref)
}

func printCaptures(w io.Writer, answers []captureAnswer) error {
	var rows [][]string
	for _, a := range answers {
		if a.Capture == nil {
			rows = append(rows, []string{a.Gateway, "?", "", "", "", "", "", "", a.err.Error()})
			continue
		}
		c := a.Capture
		on := "off"
		if c.On {
			on = "on"
		}
		since := ""
		if !c.Since.IsZero() {
			since = c.Since.UTC().Format(time.DateTime)
		}
		rows = append(rows, []string{a.Gateway, on, since, c.Keeps, fmt.Sprint(c.Statements), fmt.Sprint(c.Kept), droppedText(c.Dropped), fmt.Sprintf("%.1f MB", float64(c.SpoolBytes)/1e6), c.Error})
	}
	return table(w, []string{"GATEWAY", "CAPTURE", "SINCE", "KEEPS", "SEEN", "KEPT", "DROPPED", "SPOOL", "TROUBLE"}, rows)
}

// droppedText names the reasons, largest first.
func droppedText(dropped map[string]uint64) string {
	if len(dropped) == 0 {
		return "none"
	}
	reasons := slices.SortedFunc(maps.Keys(dropped), func(a, b string) int { return cmp.Or(cmp.Compare(dropped[b], dropped[a]), cmp.Compare(a, b)) })
	for i, r := range reasons {
		reasons[i] = fmt.Sprintf("%s %d", r, dropped[r])
	}
	return strings.Join(reasons, ", ")
}
