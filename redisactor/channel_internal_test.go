package redisactor

import (
	"testing"

	"github.com/wskit/wskit/actors"
)

func TestNoTwoTopicsHaveOneChannelAndNoneHasTheControlChannel(t *testing.T) {
	channels := map[string]string{"c" + controlSuffix: "what hubs tell each other"}
	for topic, want := range map[string]string{
		"":                                  "c",
		"room":                              "c:room",
		"room:42":                           "c:room:42",
		":room":                             "c:::room",
		"::room":                            "c::::room",
		":":                                 "c:::",
		"control":                           "c:control",
		":control":                          "c:::control",
		"::control":                         "c::::control",
		"user:eve":                          "c:user:eve",
		":user:eve":                         "c:::user:eve",
		actors.UserTopic("eve"):             "c::user:eve",
		actors.UserTopic(":control"):        "c::user::control",
		actors.UserTopic("x::user:control"): "c::user:x::user:control",
	} {
		got := topicChannel("c", topic)
		if got != want {
			t.Errorf("the channel of %q is %q, not %q", topic, got, want)
		}
		if other, taken := channels[got]; taken {
			t.Errorf("%q has the channel of %q", topic, other)
		}
		channels[got] = topic
	}
}
