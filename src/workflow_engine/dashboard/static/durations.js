// Lengths of time as people write them, in the form of the API: "2 m 30 s" is 2m30s, "90 sec" 90s, "5 Minutes" 5m.

const UNITS = {
  ms: "ms", s: "s", sec: "s", second: "s", m: "m", min: "m", minute: "m", h: "h", hr: "h", hour: "h", d: "d", day: "d", w: "w", week: "w",
};

// What is none, a time or ISO 8601 stays as it is: the API says what is wrong with it.
export function durationOf(text) {
  const told = text.trim();
  if (/^P/i.test(told)) return told;
  return told.replace(/([\d.]+)\s*([a-z]+)\s*/gi, (whole, number, unit) => {
    const known = UNITS[unit.toLowerCase()] || UNITS[unit.toLowerCase().replace(/s$/, "")];
    return known ? number + known : whole;
  });
}
