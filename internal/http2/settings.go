package http2

// Settings: what each side tells the other about itself (RFC 9113 §6.5). The peer's
// are kept as a Settings; ours are appended once, when a connection begins.

import "encoding/binary"

// A SettingID names a setting. Unknown ones are ignored (RFC 9113 §6.5.2).
type SettingID uint16

// The settings of RFC 9113 §6.5.2 and RFC 8441 §3.
const (
	SettingTableSize  SettingID = 0x1
	SettingPush       SettingID = 0x2
	SettingMaxStreams SettingID = 0x3
	SettingWindow     SettingID = 0x4
	SettingFrameSize  SettingID = 0x5
	SettingHeadSize   SettingID = 0x6
	SettingConnect    SettingID = 0x8
)

const settingLen = 6 // an id and a value

// settingsMax bounds the settings of one frame: there are seven, and greased ones.
const settingsMax = 32

// A Setting is one of a frame.
type Setting struct {
	ID    SettingID
	Value uint32
}

// Settings are what the peer has said of itself.
type Settings struct {
	TableSize  uint32 // of its HPACK decoder: bounds our Encoder
	TableLeast uint32 // the least TableSize of the last Apply: see Encoder.SetTableSize
	MaxStreams uint32 // that we may have open
	Window     uint32 // of each stream, at first: how much content we may send
	FrameSize  int    // the longest payload it takes, from FrameSizeMin to FrameSizeMax
	HeadSize   uint32 // of a head, 32 for each field added; advice
	Push       bool   // it takes PUSH_PROMISE, which we never send
	Connect    bool   // it takes extended CONNECT (RFC 8441)
}

// DefaultSettings are those that hold until the peer's first SETTINGS.
func DefaultSettings() Settings {
	const unlimited = 1<<32 - 1
	return Settings{
		TableSize: TableSize, TableLeast: TableSize, MaxStreams: unlimited, Window: WindowDefault,
		FrameSize: FrameSizeMin, HeadSize: unlimited, Push: true,
	}
}

// Apply takes the payload of a FrameSettings frame that is no Ack, in its order. server: the
// peer is one. After an error, which is an *Error of the connection, s is of no use.
//
// What follows from a change is the caller's: the windows of open streams grow or
// shrink with Window (§6.9.2), and the Encoder is told TableLeast, then TableSize.
func (s *Settings) Apply(payload []byte, server bool) error {
	if len(payload) > settingsMax*settingLen {
		return errSettingsMany
	}
	s.TableLeast = s.TableSize
	for ; len(payload) >= settingLen; payload = payload[settingLen:] {
		id := SettingID(binary.BigEndian.Uint16(payload))
		if err := s.set(id, binary.BigEndian.Uint32(payload[2:]), server); err != nil {
			return err
		}
	}
	return nil
}

func (s *Settings) set(id SettingID, v uint32, server bool) *Error {
	switch id {
	case SettingTableSize:
		s.TableSize, s.TableLeast = v, min(s.TableLeast, v)
	case SettingPush:
		if v > 1 || v == 1 && server {
			return errSettingPush
		}
		s.Push = v == 1
	case SettingMaxStreams:
		s.MaxStreams = v
	case SettingWindow:
		if v > WindowMax {
			return errSettingWindow
		}
		s.Window = v
	case SettingFrameSize:
		if v < FrameSizeMin || v > FrameSizeMax {
			return errSettingFrame
		}
		s.FrameSize = int(v)
	case SettingHeadSize:
		s.HeadSize = v
	case SettingConnect:
		switch {
		case v > 1:
			return errSettingConnect
		case v == 0 && s.Connect:
			return errSettingTakeBack
		}
		s.Connect = v == 1
	}
	return nil
}

// AppendSettings appends a FrameSettings frame of ours.
func AppendSettings(dst []byte, settings ...Setting) []byte {
	dst = AppendHeader(dst, len(settings)*settingLen, FrameSettings, 0, 0)
	for _, s := range settings {
		dst = binary.BigEndian.AppendUint16(dst, uint16(s.ID))
		dst = binary.BigEndian.AppendUint32(dst, s.Value)
	}
	return dst
}

// AppendSettingsAck appends the acknowledgement of the peer's SETTINGS.
func AppendSettingsAck(dst []byte) []byte { return AppendHeader(dst, 0, FrameSettings, FlagAck, 0) }
