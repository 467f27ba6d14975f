// The type of a sample file that is imported as text.
declare module 'sample:*' {
  const text: string;
  export default text;
}
