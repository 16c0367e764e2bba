// What people call what the API counts by.

const DEVICES = { desktop: "Desktop", mobile: "Phone", tablet: "Tablet", other: "Other device", bot: "Bot" };

export const device = (value) => DEVICES[value] ?? value;
export const plain = (value) => value || "Unknown";
export const referrer = (value) => ({ "": "Direct or unknown", "*": "All others" })[value] ?? value;

/** A country by its two letters. */
export function country(value) {
  if (!/^[A-Z]{2}$/.test(value)) return plain(value);
  try {
    return new Intl.DisplayNames(undefined, { type: "region" }).of(value);
  } catch {
    return value;
  }
}

/** What a key may be used for. */
export const SCOPES = {
  "links:read": ["Read links", "List, search and export them, and show their QR codes."],
  "links:write": ["Write links", "Make, change and delete them."],
  "stats:read": ["Read clicks", "Numbers, charts and the live feed."],
  "keys:admin": ["Manage keys", "Make keys and revoke them."],
};
